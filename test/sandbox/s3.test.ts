import { createHash } from 'node:crypto'
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import t from 'tap'
import { startS3 } from '../../sandbox/s3/server.ts'
import { syntheticBytes, syntheticHashes } from '../../sandbox/s3/synthetic.ts'

const s3 = await startS3()
t.teardown(async () => { await s3.close() })
await s3.createBucket('bucket')

const get = async (key: string, more: object = {}) => await s3.client.send(new GetObjectCommand({ Bucket: 'bucket', Key: key, ...more }))

t.test('odd names and bytes pass through untouched', async t => {
  for (const key of ['a b+c%20é日本.txt', "x!'()*~", 'deep/er/name', 'question?mark#hash']) {
    await s3.put('bucket', key, `this is ${key}`)
    t.equal(await (await get(key)).Body?.transformToString(), `this is ${key}`)
  }
  await s3.delete('bucket', 'deep/er/name')
  await t.rejects(get('deep/er/name'), { name: 'NoSuchKey' })
})

t.test('an object by size and seed is the same in whole and in pieces', async t => {
  const size = 3 * 1024 * 1024 + 17
  const tag = s3.putSynthetic('bucket', 'big', { sizeBytes: size, seed: 7 })
  const body = Buffer.from(await (await get('big')).Body?.transformToByteArray() ?? [])
  t.equal(body.length, size)
  t.equal(createHash('md5').update(body).digest('hex'), tag)
  t.equal(syntheticHashes(7, size).md5, tag)
  const part = await get('big', { Range: 'bytes=1048570-2097160', IfMatch: `"${tag}"` })
  t.ok(body.subarray(1_048_570, 2_097_161).equals(Buffer.from(await part.Body?.transformToByteArray() ?? [])))
  t.ok(Buffer.concat([...syntheticBytes(7, 5, 2_000_000)]).equals(body.subarray(5, 2_000_000)))
  await t.rejects(get('big', { IfMatch: '"other"' }), { name: 'PreconditionFailed' })
  await t.rejects(get('big', { Range: `bytes=${size}-` }), { name: 'InvalidRange' })
  t.match(s3.putSynthetic('bucket', 'parts', { sizeBytes: 20_000_000, seed: 1, etag: 'multipart' }), /^[0-9a-f]{32}-3$/)
  s3.putSynthetic('bucket', 'kms', { sizeBytes: 1, seed: 1, etag: 'kms' })
  t.equal((await s3.client.send(new HeadObjectCommand({ Bucket: 'bucket', Key: 'kms' }))).ServerSideEncryption, 'aws:kms')
})

t.test('faults strike once and are gone', async t => {
  await s3.put('bucket', 'f', 'x'.repeat(100_000))
  const once = { times: 1, match: { path: '/bucket/f' } }
  s3.faults.add({ ...once, status: 503 })
  s3.faults.add({ ...once, reset: 'mid-body', afterBytes: 10 })
  s3.faults.add({ ...once, slow: { bytesPerSecond: 10_000_000 }, latencyMs: 1 })
  await t.rejects(get('f'), { name: 'SlowDown' })
  await t.rejects(async () => { await (await get('f')).Body?.transformToString() }, 'the connection breaks')
  t.equal((await (await get('f')).Body?.transformToString())?.length, 100_000)
  s3.access.refused = true
  await t.rejects(get('f'), { name: 'InvalidAccessKeyId' })
  s3.access.refused = false
  t.ok(s3.log.some(each => each.status === 503 && each.key === 'f'))
})
