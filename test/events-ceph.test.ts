import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { sql } from 'kysely'
import t from 'tap'
import { cpCode, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import type { Job } from '../src/schemas.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'
import { until } from './process.ts'

/** The bucket of the recorded events. */
const bucket = 'media-origin-example'
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox()
const { s3, netstorage, fastPurge } = sandbox
await s3.createBucket(bucket)
const app = await buildApp(testConfig({ ...sandbox.env, S3_BUCKETS: bucket, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0', NS_MIN_REWRITE_SECONDS: '0', API_TOKENS: 'ceph:the-secret-in-the-push-endpoint' }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
const headers = { authorization: 'Bearer the-secret-in-the-push-endpoint' }

/** One POST as RGW's gateway sends it: it waits to be told to go on, and names the event once more in headers. */
async function post (body: Buffer): Promise<number> {
  return await new Promise((resolve, reject) => {
    const outgoing = request(`${origin}/events?token=the-secret-in-the-push-endpoint`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue', 'ce-id': 'tx00000000000000000199', 'ce-specversion': '1.0', 'ce-type': 'com.amazonaws.ObjectCreated:Put', 'ce-source': 'ceph:s3.zg1.media-origin-example' }
    }, answer => { answer.resume().once('end', () => { resolve(answer.statusCode ?? 0) }) })
    outgoing.once('error', reject).once('continue', () => { outgoing.end(body) }).flushHeaders()
  })
}
/** One POST as release 16 sends it, by a real gateway: no word more than these headers. */
async function postPlainly (body: Buffer, token = 'the-secret-in-the-push-endpoint'): Promise<number> {
  return await new Promise((resolve, reject) => {
    request(`${origin}/events?token=${token}`, { method: 'POST', headers: { accept: '*/*', 'content-type': 'application/json', 'content-length': body.length } }, answer => {
      answer.resume().once('end', () => { resolve(answer.statusCode ?? 0) })
    }).once('error', reject).end(body)
  })
}
const bodyOf = (name: string): Buffer => readFileSync(new URL(`fixtures/s3-events/${name}.json`, import.meta.url))
/** A persistent topic: the same event until it is taken. Returns each answer. */
async function push (name: string): Promise<number[]> {
  const body = bodyOf(name)
  const statuses = [await post(body)]
  while (Number(statuses.at(-1)) >= 300) {
    await new Promise(resolve => { setTimeout(resolve, 20) })
    statuses.push(await post(body))
  }
  return statuses
}
const keyOf = (name: string): string => JSON.parse(bodyOf(name).toString()).Records[0].s3.object.key as string
const jobs = async (key: string) => (await app.inject({ url: `/jobs?bucket=${bucket}&key=${encodeURIComponent(key)}`, headers })).json().items as Job[]
const ended = async (key: string) => { await until(async () => { const all = await jobs(key); return all.length > 0 && all.every(job => job.finishedAt !== undefined) }, `the jobs of ${key} end`, 60_000, 20) }
const stored = (key: string) => netstorage.store.get(`/${cpCode}/${key}`)

t.test('its probe is answered', async t => {
  t.equal((await fetch(`${origin}/events?token=the-secret-in-the-push-endpoint`, { method: 'HEAD' })).status, 200)
})

t.test('a put travels to NetStorage under its literal key and out of the cache, and its repeat makes nothing', async t => {
  for (const name of ['120-ceph-put', '121-ceph-put-s3-prefix']) {
    const key = keyOf(name)
    await s3.put(bucket, key, `the bytes of ${key}`)
    t.same(await push(name), [200])
    await ended(key)
    t.same(await push(name), [200])
    t.match(await jobs(key), [{ state: 'succeeded', outcome: 'uploaded', source: { type: 'events', token: 'ceph' } }])
    t.equal((await jobs(key)).length, 1)
    t.equal(stored(key)?.sizeBytes, Buffer.byteLength(`the bytes of ${key}`))
    t.match(fastPurge.purges().at(-1)?.objects?.[0], `https://www.example.com/${key.split('/').map(encodeURIComponent).join('/')}`)
  }
})

t.test('what it repeats for ever is taken once the database is back, and none of it twice', async t => {
  const { kysely } = app.clients.store
  const key = keyOf('122-ceph-delete-marker')
  await s3.put(bucket, key, 'x')
  await app.inject({ method: 'POST', url: '/sync', headers: { ...headers, prefer: 'wait=30' }, payload: { bucket, key } })
  t.ok(stored(key))
  await s3.delete(bucket, key)
  await sql`alter table hints rename to hints_elsewhere`.execute(kysely)
  const pushed = Promise.all([push('122-ceph-delete-marker'), push('122-ceph-delete-marker')])
  t.equal(await post(bodyOf('122-ceph-delete-marker')), 503)
  await sql`alter table hints_elsewhere rename to hints`.execute(kysely)
  for (const statuses of await pushed) t.same([statuses.at(-1), new Set(statuses.slice(0, -1))], [200, new Set(statuses.length > 1 ? [503] : [])])
  await ended(key)
  t.match((await jobs(key)).map(job => [job.source.type, job.outcome]), [['events', 'deleted'], ['rest', 'uploaded']])
  t.equal(stored(key), undefined)
  t.equal(fastPurge.purges().at(-1)?.action, 'delete')
})

t.test('an expired version of an object that is still there deletes nothing', async t => {
  const name = '123-ceph-lifecycle-expiration'
  const key = keyOf(name)
  await s3.put(bucket, key, 'still here')
  t.same(await push(name), [200])
  await ended(key)
  t.equal(stored(key)?.sizeBytes, 10)
})

t.test('an upload that only begins leaves NetStorage as it is, and its end is copied', async t => {
  const name = '124-ceph-initiate-multipart'
  const key = keyOf(name)
  t.same(await push(name), [200])
  await ended(key)
  t.match(await jobs(key), [{ state: 'succeeded', outcome: 'purged' }])
  t.equal(stored(key), undefined)
  await s3.put(bucket, key, 'complete')
  const begun = bodyOf(name).toString()
  t.equal(await post(Buffer.from(begun.replace('ObjectCreated:Post', 'ObjectCreated:CompleteMultipartUpload').replace('BB0A046B', 'BC0A046B'))), 200)
  await until(async () => (await jobs(key))[0]?.outcome === 'uploaded', 'its end is copied', 60_000, 20)
  t.equal(stored(key)?.sizeBytes, 8)
})

t.test('what will never be processed is counted and taken, or it would come for ever', async t => {
  const { Records: [record] } = JSON.parse(bodyOf('120-ceph-put').toString())
  for (const body of ['', 'no JSON', '{}', '{"Records":[{}]}', JSON.stringify({ Records: [{ ...record, eventName: 'ObjectPondered:Long' }] }), JSON.stringify({ Records: [{ ...record, s3: { bucket: { name: 'another' }, object: { key: 'x' } } }] })]) {
    t.equal(await post(Buffer.from(body)), 200)
  }
  t.match((await app.inject('/metrics')).body, /edgeferry_events_total\{[^}]*verdict="rejected"\} [3-9]/)
})

t.test('what release 16 sent travels the whole way: an odd key, a multipart upload, and each kind of delete', async t => {
  const odd = keyOf('125-ceph-16-put')
  await s3.put(bucket, odd, 'hello')
  t.equal(await postPlainly(bodyOf('125-ceph-16-put')), 200)
  await ended(odd)
  t.match(stored(odd), { sizeBytes: 5, md5: '5d41402abc4b2a76b9719d911017c592' })
  for (const spelling of ['100%2525%20a%2Bb%20%C3%A9%E6%97%A5%20%27q%27%20', "100%2525%20a+b%20%C3%A9%E6%97%A5%20'q'%20"]) {
    t.ok(fastPurge.purges().some(({ objects = [] }) => objects.includes(`https://www.example.com/music/${spelling}`)), spelling)
  }

  for (const [key, created, removed] of [['big/cut.mov', '126-ceph-16-multipart', '127-ceph-16-delete'], ['versioned.txt', undefined, '128-ceph-16-delete-marker']] as const) {
    await s3.put(bucket, key, 'the bytes')
    if (created === undefined) await app.inject({ method: 'POST', url: '/sync', headers: { ...headers, prefer: 'wait=30' }, payload: { bucket, key } })
    else t.equal(await postPlainly(bodyOf(created)), 200)
    await ended(key)
    t.equal(stored(key)?.sizeBytes, 9, key)
    await s3.delete(bucket, key)
    t.equal(await postPlainly(bodyOf(removed)), 200)
    await ended(key)
    t.equal(stored(key), undefined, removed)
    t.match((await jobs(key))[0], { outcome: 'deleted' })
  }
  // The version that went was the marker: what it hid shows again.
  await s3.put(bucket, 'versioned.txt', 'shows again')
  t.equal(await postPlainly(bodyOf('129-ceph-16-delete-version')), 200)
  await until(() => stored('versioned.txt')?.sizeBytes === 11, 'it is back', 60_000, 20)
})

t.test('a refusal is not answered at once, for it is repeated as soon as it is answered', async t => {
  const startedAt = performance.now()
  for (let round = 0; round < 2; round++) t.same(await Promise.all(Array.from({ length: 12 }, async () => await postPlainly(bodyOf('120-ceph-put'), 'wrong'))).then(statuses => statuses.every(status => status === 401 || status === 429)), true)
  t.ok(performance.now() - startedAt >= 1990, 'a second each time')
  t.equal(await postPlainly(bodyOf('120-ceph-put')), 200, 'who knows the secret is served meanwhile')
})
