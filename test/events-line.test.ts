import t from 'tap'
import { bucket, cpCode, startSandbox, topicArn } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox({}, { retryScale: 0.01, signatureVersion: 'mixed' })
const { s3, sns, netstorage, fastPurge } = sandbox
const limit = 3
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0', VERIFY_TIMEOUT_SECONDS: '1', STALL_TIMEOUT_SECONDS: '2', DELETE_LIMIT_PER_MINUTE: String(limit) }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
await sandbox.subscribe(origin).confirmed

interface Shown { id: string, state: string, outcome?: string, error?: { code: string, detail: string }, source: { type: string } }
const jobsOf = async (key: string) => (await app.inject(`/jobs?bucket=${bucket}&key=${encodeURIComponent(key)}`)).json().items as Shown[]
/** Waits until the newest job of a key stands as wanted. */
async function until (key: string, wanted: Partial<Shown>): Promise<Shown> {
  for (;;) {
    const [job] = await jobsOf(key)
    if (job !== undefined && Object.entries(wanted).every(([name, value]) => job[name as keyof Shown] === value)) return job
    if (job !== undefined && ['failed', 'cancelled'].includes(job.state) && wanted.state !== job.state) throw new Error(`${key}: ${JSON.stringify(job)}`)
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}
const stored = (key: string) => netstorage.store.get(`/${cpCode}/${key}`)
const purgesOf = (key: string) => fastPurge.purges().filter(each => each.objects?.includes(`https://www.example.com/${key}`))

t.test('a change in S3 travels to NetStorage and out of the cache by itself', async t => {
  await s3.put(bucket, 'css/a b.css', 'one')
  t.match(await until('css/a b.css', { state: 'succeeded' }), { outcome: 'uploaded', source: { type: 'sns', topicArn } })
  t.equal(stored('css/a b.css')?.sizeBytes, 3)
  t.match(purgesOf('css/a%20b.css'), [{ action: 'invalidate' }])
})

t.test('an overwrite follows, and a delete takes the object from NetStorage and purges it with delete', async t => {
  await s3.put(bucket, 'x.js', 'one')
  await until('x.js', { state: 'succeeded' })
  await s3.put(bucket, 'x.js', 'two two')
  await sandbox.idle()
  await until('x.js', { state: 'succeeded' })
  t.equal(stored('x.js')?.sizeBytes, 7)
  await s3.delete(bucket, 'x.js')
  await until('x.js', { state: 'succeeded', outcome: 'deleted' })
  t.equal(stored('x.js'), undefined)
  t.equal(purgesOf('x.js').at(-1)?.action, 'delete')
})

t.test('what others put on NetStorage is held, not touched, until an operator releases it', async t => {
  netstorage.store.put(`/${cpCode}/theirs.js`, 'not ours')
  await s3.put(bucket, 'mine.js', 'x')
  await sns.publish(topicArn, JSON.stringify({ Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectRemoved:Delete', s3: { bucket: { name: bucket }, object: { key: 'theirs.js', sequencer: '0A' } } }] }))
  t.match(await until('theirs.js', { state: 'held' }), { error: { code: 'target_not_ours' } })
  t.equal(stored('theirs.js')?.sizeBytes, 8)
})

t.test('a bucket that is gone, or that hides what is missing, deletes nothing', async t => {
  await s3.put(bucket, 'kept.js', 'x')
  await until('kept.js', { state: 'succeeded' })
  for (const [status, code] of [[404, 'NoSuchBucket'], [403, 'AccessDenied']] as const) {
    const mend = s3.faults.add({ match: { path: `/${bucket}/kept.js`, method: 'GET' }, status, body: `<Error><Code>${code}</Code><Message>no</Message></Error>` })
    await s3.notifications.idle()
    await app.inject({ method: 'POST', url: '/events', payload: JSON.stringify({ Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectRemoved:Delete', s3: { bucket: { name: bucket }, object: { key: 'kept.js', sequencer: `FFFFFFFFFFFFFFFF${status}` } } }] }) })
    t.match(await until('kept.js', { state: 'failed' }), { error: { code: status === 404 ? 'bucket_not_found' : 's3_access_denied', detail: status === 404 ? /bucket/ : /without s3:ListBucket/ } })
    mend()
  }
  t.equal(stored('kept.js')?.sizeBytes, 1)
})

t.test('more deletes than the limit are held, and go on when released', async t => {
  const keys = Array.from({ length: 8 }, (_, n) => `many/${n}.js`)
  await Promise.all(keys.map(async key => { await s3.put(bucket, key, 'x') }))
  for (const key of keys) await until(key, { state: 'succeeded' })
  await Promise.all(keys.map(async key => { await s3.delete(bucket, key) }))
  await sandbox.idle()
  const states = async () => (await Promise.all(keys.map(async key => (await jobsOf(key))[0]?.state)))
  while ((await states()).some(state => state !== 'held' && state !== 'succeeded')) await new Promise(resolve => { setTimeout(resolve, 20) })
  const held = (await states()).filter(state => state === 'held').length
  t.ok(held >= keys.length - limit, `${held} are held`)
  t.equal(keys.filter(key => stored(key) !== undefined).length, held)
})

t.test('an archived object fails with its own code and is woken when it is restored', async t => {
  const mend = s3.faults.add({ match: { path: `/${bucket}/ice.bin`, method: 'GET' }, status: 403, body: '<Error><Code>InvalidObjectState</Code><Message>archived</Message></Error>' })
  await s3.put(bucket, 'ice.bin', 'thawed')
  const job = await until('ice.bin', { state: 'failed' })
  t.equal(job.error?.code, 'object_archived')
  mend()
  await sns.publish(topicArn, JSON.stringify({ Records: [{ eventVersion: '2.3', eventSource: 'aws:s3', eventName: 'ObjectRestore:Completed', s3: { bucket: { name: bucket }, object: { key: 'ice.bin', size: 6, eTag: 'x' } } }] }))
  await sandbox.idle()
  t.match(await until('ice.bin', { state: 'succeeded' }), { id: job.id, outcome: 'uploaded' })
})
