import t from 'tap'
import { etagMd5, readContentEncoding, readInfo, type S3Answer } from '../../src/s3/metadata.ts'

const md5 = '9e107d9d372bb6826bd81d3542a419d6'
const lastModified = new Date('2026-01-15T08:30:00Z')

t.test('an ETag is an MD5 only where nothing speaks against it', async (t) => {
  const table: Array<[string, S3Answer, string, 'auto' | 'never', string | undefined]> = [
    ['plain', { ETag: `"${md5}"` }, 'assets', 'auto', md5],
    ['without quotes', { ETag: md5 }, 'assets', 'auto', md5],
    ['upper case', { ETag: `"${md5.toUpperCase()}"` }, 'assets', 'auto', md5],
    ['SSE-S3', { ETag: `"${md5}"`, ServerSideEncryption: 'AES256' }, 'assets', 'auto', md5],
    ['the rule forbids it', { ETag: `"${md5}"` }, 'assets', 'never', undefined],
    ['multipart', { ETag: `"${md5}-3"` }, 'assets', 'auto', undefined],
    ['too short', { ETag: `"${md5.slice(1)}"` }, 'assets', 'auto', undefined],
    ['not hex', { ETag: `"${md5.replace('9', 'g')}"` }, 'assets', 'auto', undefined],
    ['weak', { ETag: `W/"${md5}"` }, 'assets', 'auto', undefined],
    ['none', {}, 'assets', 'auto', undefined],
    ['KMS', { ETag: `"${md5}"`, ServerSideEncryption: 'aws:kms' }, 'assets', 'auto', undefined],
    ['DSSE', { ETag: `"${md5}"`, ServerSideEncryption: 'aws:kms:dsse' }, 'assets', 'auto', undefined],
    ['unknown encryption', { ETag: `"${md5}"`, ServerSideEncryption: 'aws:fsx' }, 'assets', 'auto', undefined],
    ['a customer key', { ETag: `"${md5}"`, SSECustomerAlgorithm: 'AES256' }, 'assets', 'auto', undefined],
    ['directory bucket', { ETag: `"${md5}"` }, 'assets--use1-az4--x-s3', 'auto', undefined]
  ]
  for (const [name, answer, bucket, etagIsMd5, expected] of table) t.equal(etagMd5(answer, bucket, etagIsMd5), expected, name)
})

t.test('only codings that the stored bytes have count', async (t) => {
  const table: Array<[string | undefined, string | undefined]> = [
    [undefined, undefined], ['', undefined], ['identity', undefined], ['aws-chunked', undefined], ['AWS-Chunked, ', undefined],
    ['gzip', 'gzip'], ['aws-chunked,gzip', 'gzip'], ['gzip, br', 'gzip, br']
  ]
  for (const [header, coding] of table) t.equal(readContentEncoding(header), coding, String(header))
})

t.test('an answer is read in our words, and one that lacks what S3 sends is not', async (t) => {
  const answer = { ETag: `"${md5}"`, ContentLength: 0, LastModified: lastModified }
  const info = { etag: md5, md5, sizeBytes: 0, lastModified, storageClass: 'STANDARD' }
  t.same(readInfo(answer, 'assets', 'auto'), info)
  t.same(readInfo({ ...answer, VersionId: 'null', WebsiteRedirectLocation: '', ContentEncoding: '' }, 'assets', 'auto'), info)
  t.same(
    readInfo({ ...answer, ETag: `"${md5}-2"`, VersionId: 'v1', ContentEncoding: 'br', WebsiteRedirectLocation: '/new', StorageClass: 'GLACIER_IR' }, 'assets', 'auto'),
    { etag: `${md5}-2`, sizeBytes: 0, lastModified, versionId: 'v1', contentEncoding: 'br', redirect: '/new', storageClass: 'GLACIER_IR' })
  for (const member of ['ETag', 'ContentLength', 'LastModified']) t.equal(readInfo({ ...answer, [member]: undefined }, 'assets', 'auto'), undefined, member)
})
