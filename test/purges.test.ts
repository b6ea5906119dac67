import { sql } from 'kysely'
import t from 'tap'
import { bucket, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import type { Job, Purge } from '../src/schemas.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox()
const { s3, fastPurge } = sandbox
const app = await buildApp(testConfig({
  ...sandbox.env,
  DATA_DIR: await makeDataDir(t),
  PURGE_REPEAT_SECONDS: '1',
  PURGE_COALESCE_MS: '100',
  API_TOKENS: 'ops:the-secret-of-the-operators'
}), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const headers = { authorization: 'Bearer the-secret-of-the-operators' }

const url = (name: string) => `https://www.example.com/${name}`
async function start (path: string, payload: object, prefer = 'wait=30'): Promise<Job> {
  return (await app.inject({ method: 'POST', url: path, headers: { ...headers, prefer }, payload })).json()
}
const look = async (id: string): Promise<Job> => (await app.inject({ url: `/jobs/${id}`, headers })).json()
async function list (query: Record<string, string> = {}): Promise<{ items: Purge[], next?: string }> {
  return (await app.inject({ url: '/purges', query, headers })).json()
}
async function until (holds: () => Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise(resolve => { setTimeout(resolve, 50) })
}

t.test('what was sent is listed, newest first, with the jobs it was sent for', async t => {
  const first = await start('/purge', { urls: [url('a'), url('b')] })
  const second = await start('/purge', { urls: [url('b')], action: 'delete', network: 'staging', labels: ['release-7'] })
  const third = await start('/purge', { cpCodes: [4711] })
  const { items } = await list()
  t.match(items, [
    { type: 'cpcode', action: 'invalidate', network: 'production', objects: [4711], count: 1, jobIds: [third.id] },
    { type: 'url', action: 'delete', network: 'staging', objects: [url('b')], count: 1, jobIds: [second.id] },
    { type: 'url', action: 'invalidate', network: 'production', edgegrid: 'default', count: 2, purgeId: first.purge?.purgeId, jobIds: [first.id] }
  ])
  t.same(items.map(each => each.purgeId), fastPurge.purges().map(each => each.purgeId).reverse())
  const found = async (query: Record<string, string>) => (await list(query)).items.map(each => each.jobIds[0])
  t.same(await found({ object: url('b') }), [second.id, first.id])
  t.same(await found({ object: '4711' }), [third.id])
  t.same(await found({ job: first.id }), [first.id])
  t.same(await found({ job: first.id.toUpperCase() }), [first.id])
  t.same(await found({ label: 'release-7' }), [second.id])
  t.same(await found({ network: 'production', type: 'url' }), [first.id])
  t.same(await found({ action: 'delete' }), [second.id])
  t.same(await found({ until: '2026-01-01T00:00:00Z' }), [])
  t.same(await found({ since: first.createdAt, until: third.createdAt }), [second.id, first.id])
})

t.test('a list is read page by page, and a cursor nobody gave is refused', async t => {
  const all = (await list()).items.map(each => each.id)
  const seen: string[] = []
  for (let after: string | undefined; ;) {
    const page = await list({ limit: '1', ...(after === undefined ? {} : { after }) })
    seen.push(...page.items.map(each => each.id))
    if (page.next === undefined) break
    after = page.next
  }
  t.same(seen, all)
  for (const query of [{ after: 'nonsense' }, { colour: 'red' }, { limit: '0' }, { network: 'moon' }, { job: 'x' }] as Array<Record<string, string>>) {
    t.equal((await app.inject({ url: '/purges', query, headers })).statusCode, 400, JSON.stringify(query))
  }
})

t.test('an upload is purged and purged again, and the object leads to both', async t => {
  await s3.put(bucket, 'twice.css', 'x')
  const job = await start('/sync', { bucket, key: 'twice.css' })
  t.equal(job.state, 'succeeded')
  await until(async () => (await list({ object: url('twice.css') })).items.length === 2)
  const { items } = await list({ object: url('twice.css') })
  t.same(items.map(each => each.jobIds), [[], [job.id]], 'nobody waits for the second')
  t.same((await list({ bucket, key: 'twice.css' })).items.map(each => each.purgeId), [job.purge?.purgeId])
})

t.test('a token that is limited to buckets sees what its own jobs wanted', async t => {
  const caller = { token: 'shop', buckets: new Set([bucket]) }
  const [own] = await app.jobs.list({ bucket, limit: 1 }, {})
  const { items: [foreign] } = await list({ object: url('a') })
  await t.rejects(app.jobs.purges({ limit: 10 }, caller), { code: 'forbidden', message: /name one of its jobs/ })
  t.match(await app.jobs.purges({ limit: 10, jobId: own?.id as string }, caller), [{ objects: [url('twice.css')], jobIds: [own?.id] }])
  t.same(await app.jobs.purges({ limit: 10, jobId: foreign?.jobIds[0] as string }, caller), [])
})

t.test('metrics tell what waits, what is left and how long it took', async t => {
  const { body } = await app.inject('/metrics')
  for (const line of [
    /^edgeferry_queue_depth\{queue="purges"\} 0$/m,
    /^edgeferry_oldest_waiting_seconds\{queue="purges"\} 0$/m,
    /^edgeferry_purge_tokens\{type="url"\} (?:79\d\d|8000)$/m,
    /^edgeferry_purge_tokens\{type="cpcode"\} (?:239|240)$/m,
    /^edgeferry_purge_tokens\{type="request"\} \d\d$/m,
    /^edgeferry_purge_tokens\{type="tag"\} 4000$/m,
    /^edgeferry_upstream_requests_total\{upstream="fast-purge",action="delete",status="201"\} 1$/m,
    /^edgeferry_purge_wait_seconds_count\{type="url"\} 4$/m
  ]) t.match(body, line)
})

t.test('a missing grant is told by /readyz and metrics, and the lane goes on by itself', async t => {
  const client = fastPurge.clients[0] as { grant?: boolean }
  client.grant = false
  const waiting = await start('/purge', { urls: [url('later')] }, 'wait=0')
  await until(async () => (await look(waiting.id)).error !== undefined)
  t.match(await look(waiting.id), { state: 'purging', error: { code: 'purge_forbidden', detail: /READ-WRITE/ }, attempts: 0 })
  const ready = await app.inject('/readyz?verbose')
  t.equal(ready.statusCode, 200)
  t.match(ready.json().checks.find((check: { name: string }) => check.name === 'edgegrid:default'), { ok: false, detail: /grant "CCU APIs" READ-WRITE/ })
  t.match((await app.inject('/metrics')).body, /^edgeferry_target_paused\{target="edgegrid:default"\} 1$/m)
  delete client.grant
  await sql`update pauses set next_probe_at = now() - interval '1 minute'`.execute(app.clients.store.kysely)
  t.match((await app.inject({ url: `/jobs/${waiting.id}`, headers: { ...headers, prefer: 'wait=30' } })).json(), { state: 'succeeded' })
  await until(async () => !(await app.inject('/readyz?verbose')).body.includes('edgegrid:default'))
  t.match((await app.inject('/metrics')).body, /^edgeferry_target_paused\{target="edgegrid:default"\} 0$/m)
})

t.test('an upload that fails takes no purge with it that an earlier one owes', async t => {
  const { netstorage } = sandbox
  const key = 'twice/page.html'
  const purges = () => fastPurge.log.filter(({ status, objects = [] }) => status === 201 && objects.includes(url(key)))
  const mendPurge = fastPurge.faults.add({ status: 503 })
  await s3.put(bucket, key, 'the first')
  const first = await start('/sync', { bucket, key }, 'respond-async')
  await until(async () => (await look(first.id)).state === 'purging')
  const mendUpload = netstorage.faults.add({ match: { action: 'upload', path: `/123456/${key}` }, reset: 'mid-body' })
  await s3.put(bucket, key, 'the second')
  const second = await start('/sync', { bucket, key }, 'respond-async')
  await until(async () => (await look(second.id)).error !== undefined)
  t.equal(purges().length, 0)
  mendPurge()
  await until(async () => (await look(first.id)).finishedAt !== undefined)
  t.match(await look(first.id), { state: 'succeeded', outcome: 'uploaded', purge: { purgeId: /^eiup-/ } })
  t.match(await look(second.id), { uploadedAt: undefined, purgedAt: undefined })
  const before = purges().length
  t.ok(before >= 1)
  mendUpload()
  await until(async () => (await look(second.id)).finishedAt !== undefined)
  t.match(await look(second.id), { state: 'succeeded', outcome: 'uploaded', purge: { purgeId: /^eiup-/ } })
  t.equal(netstorage.store.get(`/123456/${key}`)?.sizeBytes, 'the second'.length)
  t.ok(purges().length > before, 'and the second commit has a purge of its own')
})
