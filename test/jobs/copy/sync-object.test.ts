import { sql } from 'kysely'
import t from 'tap'
import { cancelJob } from '../../../src/jobs/acting/cancel.ts'
import { createSyncObject } from '../../../src/jobs/copy/sync-object.ts'
import { createFeed } from '../../../src/jobs/follow/feed.ts'
import { laneOf, newJobId } from '../../../src/jobs/job.ts'
import type { Lease } from '../../../src/jobs/lanes/dispatcher.ts'
import { fetchWakeUps } from '../../../src/jobs/lanes/fetch.ts'
import { LeaseLost, queueOf } from '../../../src/jobs/lanes/lanes.ts'
import { createSlots } from '../../../src/jobs/lanes/slots.ts'
import { openQueues } from '../../../src/jobs/lanes/wake-queues.ts'
import { createPauses } from '../../../src/jobs/pauses.ts'
import { createProbes } from '../../../src/jobs/probes.ts'
import { createQueue } from '../../../src/jobs/queue.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'
import { until } from '../../process.ts'
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

interface Circumstances extends Partial<Lease> { /** Another lane holds the only upload slot all the time. */ crowded?: boolean, patienceMs?: number }

/** Runs the lane that waits, as the dispatcher would. */
async function run ({ crowded = false, patienceMs = 10, ...given }: Circumstances = {}) {
  const slots = createSlots({ count: 1, patienceMs, onRelease () {} })
  const lease: Lease = { signal: new AbortController().signal, check () {}, ...given }
  if (crowded) await slots.create().take(lease.signal)
  const [wakeUp] = await fetchWakeUps(store, target, 1)
  if (wakeUp === undefined) throw new Error('no lane waits')
  await syncObject.run(wakeUp, target, lease, slots.create())
}

/** Takes away what would be tried again later. */
async function forget (key: string) {
  await sql`delete from jobs where key = ${key}`.execute(store.kysely)
  await sql`delete from pgboss.job where singleton_key = ${laneOf(target, 123456, key)}`.execute(store.kysely)
}

/** What becomes of the lane of a worker that was not heard of any more. */
async function callAgain () {
  const { rows } = await sql<{ id: string }>`select id from pgboss.job where name = ${queueOf(target)} and state = 'active'`.execute(store.kysely)
  await store.boss.fail(queueOf(target), rows.map(row => row.id))
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
  await forget('half')
})

t.test('a job that is cancelled while it waits for its slot ends at once, and leaves nothing', async t => {
  put('unwanted', { seed: 1, sizeBytes, etag: 'md5' })
  const { id } = await add('unwanted')
  const over = run({ crowded: true, patienceMs: 60_000 })
  await until(async () => await ledger('unwanted') !== undefined, 'it is marked')
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
  await until(async () => await ledger('missed') !== undefined, 'it is marked')
  await store.withTx(async tx => await cancelJob(store, tx, id, now()))
  await over
  t.match(await queue.find(id), { state: 'cancelled', next_attempt_at: null })
  t.equal(await ledger('missed'), undefined)
})

t.test('what a worker that died may have uploaded is remembered, though the next run uploads nothing', async t => {
  put('orphaned', { seed: 1, sizeBytes, etag: 'md5' })
  await add('orphaned')
  await run()
  put('orphaned', { seed: 2, sizeBytes, etag: 'md5' })
  const { id } = await add('orphaned')
  netstorage.faults.add({ times: 1, match: { action: 'upload', path: at('orphaned') }, hang: 'after-commit' })
  const frozen = new AbortController()
  const over = run({ signal: frozen.signal })
  await until(() => asked('orphaned', 'upload').length === 2, 'it has arrived')
  const arrived = stored('orphaned')
  frozen.abort(new LeaseLost('another worker has it now'))
  await t.rejects(over, LeaseLost)
  await callAgain()
  await run({ crowded: true })
  t.match(await queue.find(id), { state: 'queued' })
  put('orphaned', { seed: 1, sizeBytes, etag: 'md5' })
  netstorage.faults.add({ times: 1, match: { action: 'stat', path: at('orphaned') }, kind: 'stale-stat' })
  await run()
  t.match(await queue.find(id), { state: 'succeeded', outcome: 'uploaded' }, 'stat may still show what was there before')
  const now = await ledger('orphaned')
  t.match(now, { present: true, pending: false, md5: stored('orphaned')?.md5 as string })
  t.ok((now?.mtime as number) > (arrived?.mtime as number))
})

t.test('a worker that lost its lane while S3 was asked marks nothing', async t => {
  put('lost', { seed: 1, sizeBytes, etag: 'md5' })
  await add('lost')
  await t.rejects(run({ check () { throw new LeaseLost('another worker has it now') } }), LeaseLost)
  t.equal(await ledger('lost'), undefined)
  await callAgain()
  await run()
  t.match(await ledger('lost'), { present: true })
})

t.test('an upload that failed before its last bytes left leaves no mark', async t => {
  for (const [key, fault] of [['refused', { reset: 'before' }], ['cut', { reset: 'mid-body', afterBytes: 600_000 }]] as const) {
    netstorage.faults.add({ times: 1, match: { action: 'upload', path: at(key) }, ...fault })
    put(key, { seed: 1, sizeBytes: 20_000_000, etag: 'multipart' })
    const { id } = await add(key)
    await run()
    t.match(await queue.find(id), { state: 'queued', attempts: 1 })
    t.equal(await ledger(key), undefined)
    await forget(key)
  }
})

t.test('a job that is cancelled while S3 is asked ends so, and is not held', async t => {
  netstorage.store.put(at('unheld'), 'put there by others')
  const asking = Promise.withResolvers<void>()
  s3.faults.add({ times: 1, match: { method: 'GET', path: `/${bucket}/unheld` }, until: asking.promise })
  const { id } = await add('unheld', true)
  const over = run()
  await until(async () => (await queue.find(id))?.state === 'uploading', 'it runs')
  await store.withTx(async tx => await cancelJob(store, tx, id, now()))
  asking.resolve()
  await over
  t.match(await queue.find(id), { state: 'cancelled' })
})
