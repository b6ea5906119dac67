import { xmlEscape } from './answer.ts'

/** One object of a listing. */
export interface Listed { tag: string, sizeBytes: number, lastModified: Date }

const largestPage = 1000
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/**
 * ListObjectsV2 over objects by `bucket/key`: prefix, delimiter, pages and URL encoding as S3 has them. Undefined if
 * none of them lies below the prefix.
 */
export function listObjects (bucket: string, objects: ReadonlyMap<string, Listed>, query: URLSearchParams): string | undefined {
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const after = query.get('continuation-token') ?? query.get('start-after') ?? ''
  const limit = Math.min(largestPage, Number(query.get('max-keys') ?? largestPage))
  const show = (text: string) => query.get('encoding-type') === 'url' ? encodeURIComponent(text).replaceAll('%2F', '/') : xmlEscape(text)
  const entries = new Map<string, Listed | undefined>()
  for (const [name, object] of objects) {
    if (!name.startsWith(`${bucket}/${prefix}`)) continue
    const key = name.slice(bucket.length + 1)
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    if (cut === -1) entries.set(key, object)
    else entries.set(key.slice(0, cut + delimiter.length), undefined)
  }
  if (entries.size === 0) return undefined
  const names = [...entries.keys()].filter(name => after === '' || byBytes(name, after) > 0).sort(byBytes)
  const page = names.slice(0, limit)
  const next = names.length > limit ? page.at(-1) : undefined
  const contents = page.map(name => {
    const object = entries.get(name)
    return object === undefined
      ? `<CommonPrefixes><Prefix>${show(name)}</Prefix></CommonPrefixes>`
      : `<Contents><Key>${show(name)}</Key><LastModified>${object.lastModified.toISOString()}</LastModified><ETag>&quot;${object.tag}&quot;</ETag><Size>${object.sizeBytes}</Size><StorageClass>STANDARD</StorageClass></Contents>`
  })
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><Prefix>${show(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${limit}</MaxKeys>` +
    `${query.has('encoding-type') ? '<EncodingType>url</EncodingType>' : ''}<IsTruncated>${next !== undefined}</IsTruncated>${next === undefined ? '' : `<NextContinuationToken>${xmlEscape(next)}</NextContinuationToken>`}${contents.join('')}</ListBucketResult>`
}
