import { createHash } from 'node:crypto'
import t from 'tap'
import { bucket, startSandbox } from '../sandbox/sandbox.ts'
import { syntheticHashes } from '../sandbox/s3/synthetic.ts'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

const dir = await makeDataDir(t)
const sandbox = await startSandbox()
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: dir, PURGE_REPEAT_SECONDS: '0', PURGE_COALESCE_MS: '50', VERIFY_TIMEOUT_SECONDS: '1', STALL_TIMEOUT_SECONDS: '2' }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const { s3, netstorage, fastPurge } = sandbox

async function call (url: string, payload: object, seconds = 30) {
  const answer = await app.inject({ method: 'POST', url, payload, headers: { prefer: `wait=${seconds}` } })
  return { status: answer.statusCode, ...answer.json() as Record<string, unknown> & { id: string } }
}
const sync = async (key: string, more: object = {}) => await call('/sync', { bucket, key, ...more })

/** The actions on one path and the purges after them, as the emulators saw them. */
function seen (key: string): string[] {
  const events = [
    ...netstorage.log.filter(each => each.name === `/123456/${key}`).map(each => ({ at: each.finishedAt, what: `${each.action} ${each.status}` })),
    ...fastPurge.log.filter(each => each.objects?.some(object => String(object).startsWith('https://www.example.com/' + encodeURI(key)))).map(each => ({ at: each.at + 0.5, what: `purge ${each.status}` }))
  ]
  return events.sort((a, b) => a.at - b.at).map(each => each.what)
}

t.test('a good object is uploaded, verified, then purged, whatever its name and size', async t => {
  for (const [key, body] of [['css/site.css', 'body {}'], ['odd name +%é日.txt', 'odd'], ['empty.bin', '']] as const) {
    await s3.put(bucket, key, body)
    t.match(await sync(key), { status: 200, state: 'succeeded', outcome: 'uploaded', sizeBytes: body.length, purge: { purgeId: /^eiup-/ } })
    t.equal(netstorage.store.get(`/123456/${key}`)?.sha256, createHash('sha256').update(body).digest('hex'))
  }
  t.same(seen('css/site.css'), ['upload 200', 'stat 200', 'purge 201'])
})

t.test('a large object without an MD5 is hashed on its way and proved by a signed trailer', async t => {
  s3.putSynthetic(bucket, 'big.bin', { sizeBytes: 64 * 1024 * 1024, seed: 3, etag: 'multipart' })
  t.match(await sync('big.bin'), { status: 200, outcome: 'uploaded', sentBytes: 64 * 1024 * 1024 })
  t.equal(netstorage.store.get('/123456/big.bin')?.sha256, syntheticHashes(3, 64 * 1024 * 1024).sha256)
})

t.test('bytes that are there already are not uploaded again, but purged all the same', async t => {
  const before = netstorage.log.filter(each => each.action === 'upload').length
  t.match(await sync('css/site.css'), { status: 200, outcome: 'purged' })
  t.equal(netstorage.log.filter(each => each.action === 'upload').length, before)
  t.match(await sync('css/site.css', { force: true }), { status: 200, outcome: 'uploaded' })
})

t.test('no purge goes out for a target that stored other bytes, lost them, or shows nothing', async t => {
  await Promise.all(['corrupt-store', 'lose-upload', 'missing-stat'].map(async kind => {
    const key = `${kind}.txt`
    await s3.put(bucket, key, 'the right bytes')
    const remove = netstorage.faults.add({ kind, match: { action: kind === 'missing-stat' ? 'stat' : 'upload', path: `/123456/${key}` } })
    const { id } = await call('/sync', { bucket, key }, 3)
    t.notOk(seen(key).some(each => each.startsWith('purge')), kind)
    remove()
    const answer = await app.inject({ url: `/jobs/${id}`, headers: { prefer: 'wait=30' } })
    t.match(answer.json(), { state: 'succeeded', error: undefined })
    t.match(seen(key).slice(-3), ['upload 200', 'stat 200', 'purge 201'])
  }))
})

t.test('an upload owes its purge until the object is purged', async t => {
  await s3.put(bucket, 'later.js', 'x')
  t.match(await call('/upload', { bucket, key: 'later.js' }), { status: 200, outcome: 'uploaded', purge: undefined })
  const owed = async () => (await app.inject(`/objects?bucket=${bucket}&key=later.js`)).json().items[0].owed
  t.match(await owed(), [{ object: 'https://www.example.com/later.js', dueAt: undefined }])
  t.match(await call('/purge', { bucket, key: 'later.js' }), { status: 200, outcome: 'purged' })
  t.same(await owed(), [])
})

t.test('wrong NetStorage credentials pause the target, and all goes on when they are mended', async t => {
  const account = netstorage.accounts[0] as { key: string }
  const { key } = account
  account.key = 'changed'
  await s3.put(bucket, 'paused.txt', 'x')
  const job = await call('/sync', { bucket, key: 'paused.txt' }, 1)
  t.match(job, { status: 202, state: 'queued', attempts: 0, error: { code: 'netstorage_forbidden' } })
  t.match((await app.inject('/readyz?verbose')).json(), { ready: true, checks: [{}, {}, { name: 'netstorage:default', ok: false }] })
  const later = await call('/sync', { bucket, key: 'paused.txt' }, 1)
  t.match(later, { status: 202, state: 'queued', attempts: 0, error: { code: 'netstorage_forbidden', detail: /check that key name/ } }, 'what never failed itself says why it waits')
  t.match((await app.inject('/jobs?state=queued')).json().items, [{ id: later.id, error: { code: 'netstorage_forbidden' } }, { id: job.id }])
  account.key = key
  t.match((await app.inject({ url: `/jobs/${later.id}`, headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded', error: undefined })
  t.match((await app.inject({ url: `/jobs/${job.id}`, headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded' })
})

t.test('a missing grant pauses the purges, and what is owed is paid when it is given', async t => {
  const client = fastPurge.clients[0] as { grant?: boolean }
  client.grant = false
  await s3.put(bucket, 'grant.txt', 'x')
  const job = await call('/sync', { bucket, key: 'grant.txt' }, 1)
  t.match(job, { status: 202, error: { code: 'purge_forbidden' } })
  delete client.grant
  t.match((await app.inject({ url: `/jobs/${job.id}`, headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded' })
})

t.test('what cannot be copied says why', async t => {
  await s3.put(bucket, 'zipped.js', 'x', { ContentEncoding: 'gzip' })
  await s3.put(bucket, 'marker/', '')
  t.match(await sync('zipped.js'), { status: 422, code: 'content_encoding_unsupported', job: { state: 'failed' } })
  t.match(await sync('nowhere.js'), { status: 404, code: 'object_not_found' })
  t.match(await sync('marker/'), { status: 200, outcome: 'ignored' })
  t.match(await call('/purge', { urls: ['https://www.example.com/x'] }), { status: 200, outcome: 'purged' })
})

t.test('calls for one key merge, and never two uploads run at once on one path', async t => {
  await s3.put(bucket, 'hot.css', 'x')
  const all = await Promise.all(Array.from({ length: 20 }, async () => await sync('hot.css', { force: true })))
  t.ok(all.every(job => (job as { state?: string }).state === 'succeeded'))
  t.ok(all.some(job => (job as { outcome?: string }).outcome === 'merged'))
  t.equal(netstorage.mostUploadsAtOnce(), 1)
})
