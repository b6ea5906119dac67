import t from 'tap'
import { bucket, cpCode, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox()
const { s3, netstorage, fastPurge } = sandbox
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0', VERIFY_TIMEOUT_SECONDS: '2', STALL_TIMEOUT_SECONDS: '10', DELETE_LIMIT_PER_MINUTE: '0', API_TOKENS: 'ops:the-secret-of-the-operators' }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const headers = { authorization: 'Bearer the-secret-of-the-operators' }

interface Shown { id: string, state: string, outcome?: string, code?: string, error?: { code: string }, mergedInto?: string, sentBytes?: number, count?: number }
async function call (url: string, payload?: object, prefer = ''): Promise<Shown & { status: number }> {
  const answer = await app.inject({ method: 'POST', url, headers: { ...headers, ...(prefer === '' ? {} : { prefer }) }, ...(payload === undefined ? {} : { payload }) })
  return { status: answer.statusCode, ...answer.json() }
}
const look = async (id: string, prefer = 'wait=30'): Promise<Shown> => (await app.inject({ url: `/jobs/${id}`, headers: { ...headers, prefer } })).json()
async function until (id: string, met: (job: Shown) => boolean): Promise<Shown> {
  for (;;) {
    const job = await look(id, '')
    if (met(job)) return job
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}
const slowly = (key: string) => netstorage.faults.add({ match: { action: 'upload', path: `/${cpCode}/${key}` }, slow: { bytesPerSecond: 2_000_000 } })

t.test('what failed is tried again under its id, and needs to have failed', async t => {
  const job = await call('/sync', { bucket, key: 'late.js' }, 'wait=30')
  t.match(job, { status: 404, code: 'object_not_found' })
  const { id } = (job as unknown as { job: Shown }).job
  await s3.put(bucket, 'late.js', 'x')
  t.match(await call(`/jobs/${id}/retry`), { status: 202, id, state: 'queued' })
  t.match(await look(id), { id, state: 'succeeded', outcome: 'uploaded' })
  t.match(await call(`/jobs/${id}/retry`), { status: 409, code: 'wrong_state' })
  t.match(await call(`/jobs/${id}/cancel`), { status: 409, code: 'wrong_state' })
  t.match(await call(`/jobs/${id}/release`), { status: 409, code: 'wrong_state' })
  t.match(await call('/jobs/01a20b7c-f0ea-733e-b2cc-499eb9104510/retry'), { status: 404, code: 'job_not_found' })
})

t.test('a running upload is stopped, and the old object stays', async t => {
  netstorage.store.put(`/${cpCode}/big.bin`, 'the old one')
  s3.putSynthetic(bucket, 'big.bin', { sizeBytes: 60_000_000, seed: 5, etag: 'multipart' })
  const mend = slowly('big.bin')
  const { id } = await call('/sync', { bucket, key: 'big.bin' })
  await until(id, job => job.state === 'uploading')
  t.match(await call(`/jobs/${id}/cancel`), { status: 202, state: 'cancelled' })
  t.equal(netstorage.store.get(`/${cpCode}/big.bin`)?.sizeBytes, 11)
  t.notOk(fastPurge.purges().some(each => each.objects?.includes('https://www.example.com/big.bin')))
  mend()
  t.match(await call(`/jobs/${id}/retry`), { status: 202, state: 'queued' })
  t.match(await look(id), { state: 'succeeded', outcome: 'uploaded' })
})

t.test('of several callers who merged, one can go without the others', async t => {
  s3.putSynthetic(bucket, 'shared.bin', { sizeBytes: 20_000_000, seed: 6, etag: 'multipart' })
  const mend = slowly('shared.bin')
  const first = await call('/sync', { bucket, key: 'shared.bin' })
  await until(first.id, job => job.state === 'uploading')
  const [second, third] = [await call('/sync', { bucket, key: 'shared.bin' }), await call('/sync', { bucket, key: 'shared.bin' })]
  t.match(await call(`/jobs/${second.id}/cancel`), { status: 202, state: 'cancelled' }, 'one that waits')
  t.match(await call(`/jobs/${first.id}/cancel`), { status: 202, state: 'cancelled' }, 'the one that runs')
  mend()
  t.match(await look(third.id), { state: 'succeeded', outcome: 'uploaded' })
  t.match(await look(second.id, ''), { state: 'cancelled' })
})

t.test('after the commit it is too late, and what is owed is paid', async t => {
  await s3.put(bucket, 'committed.js', 'x')
  netstorage.faults.add({ match: { action: 'stat', path: `/${cpCode}/committed.js` }, kind: 'missing-stat', times: 1 })
  const { id } = await call('/sync', { bucket, key: 'committed.js' })
  await until(id, () => netstorage.log.some(each => each.action === 'upload' && each.name === `/${cpCode}/committed.js`))
  t.match(await call(`/jobs/${id}/cancel`), { status: 409, code: 'wrong_state' })
  t.match(await look(id), { state: 'succeeded' })
})

t.test('held jobs are released one by one or all by one call', async t => {
  const keys = ['a', 'b', 'c', 'd'].map(name => `held/${name}.js`)
  for (const key of keys) {
    await s3.put(bucket, key, 'x')
    await call('/sync', { bucket, key }, 'wait=30')
    await s3.delete(bucket, key)
  }
  const Records = keys.map(key => ({ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectRemoved:Delete', s3: { bucket: { name: bucket }, object: { key, sequencer: '0A' } } }))
  const { jobIds } = (await app.inject({ method: 'POST', url: '/events', headers, payload: JSON.stringify({ Records }) })).json() as { jobIds: string[] }
  for (const id of jobIds) t.match(await until(id, job => job.state === 'held'), { error: { code: 'delete_limit' } })
  t.match(await call(`/jobs/${jobIds[0] ?? ''}/release`), { status: 202, state: 'queued' })
  t.match(await look(jobIds[0] ?? ''), { state: 'succeeded', outcome: 'deleted' })
  t.match(await call('/jobs/retry', { filter: { state: 'held', kind: 'sync', prefix: 'held/' }, dryRun: true }), { status: 200, count: 3 })
  t.match(await call(`/jobs/${jobIds[1] ?? ''}/cancel`), { status: 202, state: 'cancelled' })
  t.match(await call('/jobs/retry', { filter: { state: ['held'], prefix: 'held/' } }), { status: 200, count: 2 })
  for (const id of jobIds.slice(2)) t.match(await look(id), { state: 'succeeded', outcome: 'deleted' })
  t.equal(netstorage.store.get(`/${cpCode}/${keys[1] ?? ''}`)?.sizeBytes, 1)
})

t.test('all that failed below a prefix is tried again by one call', async t => {
  const ids: string[] = []
  for (const key of ['bulk/1.js', 'bulk/2.js', 'other/3.js']) ids.push(((await call('/sync', { bucket, key }, 'wait=30')) as unknown as { job: Shown }).job.id)
  for (const key of ['bulk/1.js', 'bulk/2.js']) await s3.put(bucket, key, 'x')
  t.match(await call('/jobs/retry', { filter: { prefix: 'bulk/' }, dryRun: true }), { count: 2 })
  t.match(await look(ids[0] ?? '', ''), { state: 'failed' })
  t.match(await call('/jobs/retry', { filter: { prefix: 'bulk/' } }), { count: 2 })
  for (const id of ids.slice(0, 2)) t.match(await look(id), { state: 'succeeded' })
  t.match(await look(ids[2] ?? '', ''), { state: 'failed', error: { code: 'object_not_found' } })
  t.match(await call('/jobs/retry', { filter: { state: ['queued'] } }), { status: 400, code: 'invalid_request' })
  t.match(await call('/jobs/retry', { filter: { state: 'queued' } }), { status: 400, code: 'invalid_request', detail: /must be one of failed, cancelled, held/ })
  t.match(await call('/jobs/retry', { filter: { state: [] } }), { status: 400, code: 'invalid_request' })
})
