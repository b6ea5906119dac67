import { sql } from 'kysely'
import t from 'tap'
import { cancelJob } from '../../../src/jobs/acting/cancel.ts'
import { createSyncObject } from '../../../src/jobs/copy/sync-object.ts'
import { createFeed } from '../../../src/jobs/follow/feed.ts'
import { laneOf, newJobId } from '../../../src/jobs/job.ts'
import { fetchWakeUps } from '../../../src/jobs/lanes/fetch.ts'
import { createSlots } from '../../../src/jobs/lanes/slots.ts'
import { openQueues } from '../../../src/jobs/lanes/wake-queues.ts'
import { createPauses } from '../../../src/jobs/pauses.ts'
import { createProbes } from '../../../src/jobs/probes.ts'
import { createQueue } from '../../../src/jobs/queue.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'
import { bucket, startWorkbench } from './workbench.ts'

const log = { info () {}, warn () {}, error () {} }
const { s3, objects, client, netstorage, put, stored, asked, at } = await startWorkbench(t)
const store = await embedded({ dir: await makeDataDir(t), log })
const feed = createFeed({ store, log })
const now = () => new Date()
const queue = createQueue({ store, feed, now, onAdded () {} })
t.teardown(async () => {
  queue.close()
  await feed.close()
  await store.close()
})
const target = 'default'
await openQueues(store, [target])
const targets = new Map([[target, client]])
const syncObject = createSyncObject({
  store,
  s3: objects,
  targets,
  limits: testConfig().rules.current,
  pauses: createPauses(store, now, () => {}),
  probes: createProbes({ store, s3: objects, targets, cpCodeOf: () => 123456 }),
  now,
  purgeDelayMs: 0,
  purgeRepeat: false,
  verifyTimeoutMs: 2000,
  digest: 'trailer',
  minRewriteMs: 0,
  retryMs: 60_000,
  deleteLimitPerMinute: 100,
  log,
  onDone () {}
})
const sizeBytes = 50_000
const add = async (key: string, byEvent = false) => await queue.add({
  id: newJobId(Date.now()), kind: 'upload', bucket, key, rule: 'default', target, cpCode: 123456, path: key, request: byEvent ? { onMissing: 'delete' } : {}, source: { type: byEvent ? 'events' : 'rest' }
})
const ledger = async (key: string) => await store.kysely.selectFrom('objects').selectAll().where('lane', '=', laneOf(target, 123456, key)).executeTakeFirst()

/** Runs the lane that waits, as the dispatcher would; `crowded`: another lane holds the only upload slot all the time. */
async function run ({ crowded = false, patienceMs = 10 }: { crowded?: boolean, patienceMs?: number } = {}) {
  const slots = createSlots({ count: 1, patienceMs, onRelease () {} })
  const lease = { signal: new AbortController().signal, check () {} }
  if (crowded) await slots.create().take(lease.signal)
  const [wakeUp] = await fetchWakeUps(store, target, 1)
  if (wakeUp === undefined) throw new Error('no lane waits')
  await syncObject.run(wakeUp, target, lease, slots.create())
}

t.test('a lane that finds no slot gives its work back, and leaves no mark on what is not ours', async t => {
  netstorage.store.put(at('foreign'), 'put there by others')
  put('foreign', { seed: 1, sizeBytes, etag: 'md5' })
  const { id } = await add('foreign')
  await run({ crowded: true })
  t.match(await queue.find(id), { state: 'queued', attempts: 0, timeline: [{ step: 'queued' }, { step: 'uploading' }, { step: 'queued', detail: 'no slot came free' }] })
  t.equal(await ledger('foreign'), undefined)
  await s3.delete(bucket, 'foreign')
  const { id: gone } = await add('foreign', true)
  await run()
  t.match(await queue.find(gone), { state: 'held', error: { code: 'target_not_ours' } })
  t.equal(stored('foreign')?.sizeBytes, 'put there by others'.length)
})

t.test('nor does it forget what the ledger knew before', async t => {
  put('known', { seed: 1, sizeBytes, etag: 'md5' })
  await add('known')
  await run()
  t.match(await ledger('known'), { present: true, pending: false })
  await s3.delete(bucket, 'known')
  await add('known', true)
  await run()
  const tombstone = await ledger('known')
  t.match(tombstone, { present: false, pending: false })
  put('known', { seed: 2, sizeBytes, etag: 'md5' })
  const { id } = await add('known')
  await run({ crowded: true })
  t.same(await ledger('known'), tombstone)
  await run()
  t.match([await queue.find(id), await ledger('known')], [{ state: 'succeeded', outcome: 'uploaded' }, { present: true, pending: false, mtime: Number }])
})

t.test('an upload that failed half-way leaves its mark: it may have arrived', async t => {
  netstorage.faults.add({ times: 1, status: 503, match: { action: 'upload', path: at('half') } })
  put('half', { seed: 1, sizeBytes, etag: 'md5' })
  await add('half')
  await run()
  t.match(await ledger('half'), { present: false, pending: true })
  await sql`delete from jobs where key = 'half'`.execute(store.kysely)
})

t.test('a job that is cancelled while it waits for its slot ends at once, and leaves nothing', async t => {
  put('unwanted', { seed: 1, sizeBytes, etag: 'md5' })
  const { id } = await add('unwanted')
  const over = run({ crowded: true, patienceMs: 60_000 })
  while (await ledger('unwanted') === undefined) await new Promise(resolve => { setTimeout(resolve, 5) })
  t.equal(await store.withTx(async tx => await cancelJob(store, tx, id, now())), 'uploading')
  await syncObject.stopCancelled()
  await over
  t.match(await queue.find(id), { state: 'cancelled' })
  t.same([await ledger('unwanted'), asked('unwanted', 'upload')], [undefined, []])
})

t.test('so does one whose worker gives it back before it saw that', async t => {
  put('missed', { seed: 1, sizeBytes, etag: 'md5' })
  const { id } = await add('missed')
  const over = run({ crowded: true, patienceMs: 300 })
  while (await ledger('missed') === undefined) await new Promise(resolve => { setTimeout(resolve, 5) })
  await store.withTx(async tx => await cancelJob(store, tx, id, now()))
  await over
  t.match(await queue.find(id), { state: 'cancelled', next_attempt_at: null })
  t.equal(await ledger('missed'), undefined)
})
