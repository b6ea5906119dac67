import { sql } from 'kysely'
import { startFastPurge, type FastPurgeEmulator, type FastPurgeOptions } from '../../../sandbox/fast-purge/server.ts'
import { owe, priorities, type Owing } from '../../../src/jobs/debts/owe.ts'
import { createFeed } from '../../../src/jobs/follow/feed.ts'
import { newJobId, type NewJob } from '../../../src/jobs/job.ts'
import { createPauses, type Pauses } from '../../../src/jobs/pauses.ts'
import type { LaneOptions } from '../../../src/jobs/purge/lane.ts'
import { startPlanner } from '../../../src/jobs/purge/planner.ts'
import { createQueue, type Queue } from '../../../src/jobs/queue.ts'
import { createPurgeClient } from '../../../src/purge/client.ts'
import type { Store } from '../../../src/store/store.ts'
import type { JobRow } from '../../../src/store/tables.ts'

type Teardown = { teardown: (fn: () => unknown) => unknown }
const secrets = { clientToken: 'client-token', clientSecret: 'client-secret', accessToken: 'access-token' }

/** What a planner and its jobs are tested with: a strict Fast Purge of its own, and tables that nobody else uses. */
export interface Rig {
  store: Store
  emulator: FastPurgeEmulator
  queue: Queue
  pauses: Pauses
  /** What was logged as a warning or an error. */
  complaints: string[]
  /** Stops the planner as a crash would: whatever it held stays held. */
  stop: () => Promise<void>
}

export interface RigOptions {
  store: Store
  emulator?: Partial<FastPurgeOptions>
  /** Share the Fast Purge of another rig. */
  beside?: Rig
  planner?: Partial<LaneOptions>
  timeoutMs?: number
}

/** Starts a planner over a store; the tables are emptied first unless it stands beside another. */
export async function startRig (t: Teardown, { store, emulator: emulatorOptions, beside, planner: plannerOptions, timeoutMs = 5_000 }: RigOptions): Promise<Rig> {
  if (beside === undefined) await sql`truncate jobs, job_labels, debts, waiters, purges, purge_objects, purge_lanes, purge_buckets, pauses`.execute(store.kysely)
  const emulator = beside?.emulator ?? await startFastPurge({ clients: [{ ...secrets }], ...emulatorOptions })
  const complaints: string[] = []
  const complain = (fields: { err?: Error }, message: string) => { complaints.push(fields.err === undefined ? message : `${message}: ${fields.err.message}`) }
  const now = () => new Date()
  const pauses = createPauses(store, now, () => {})
  const planner = startPlanner({
    store,
    pauses,
    clients: new Map([['default', createPurgeClient({ ...secrets, host: emulator.origin, timeoutMs })]]),
    budget: 0.9,
    coalesceMs: 100,
    repeatMs: 0,
    retryMs: 60_000,
    cpCodesPerHour: 6,
    escalateMs: 0,
    log: { info () {}, warn: complain, error: complain },
    onDone () {},
    onAccepted () {},
    ...plannerOptions
  })
  const feed = createFeed({ store, log: { warn: complain } })
  const queue = createQueue({ store, feed, now, onAdded () { planner.kick() } })
  let stopped: Promise<void> | undefined
  const stop = async () => { await (stopped ??= planner.stop()) }
  t.teardown(async () => {
    await stop()
    queue.close()
    await feed.close()
    if (beside === undefined) await emulator.close()
  })
  return { store, emulator, queue, pauses, complaints, stop }
}

export const url = (n: number | string) => `https://www.example.com/assets/images/a-name-of-usual-length/object-${n}.css`
export const urls = (count: number, name = '') => Array.from({ length: count }, (_, n) => url(`${name}${String(n).padStart(6, '0')}`))

/** A purge as REST asks for it. */
export function purgeJob (objects: Array<string | number>, { by = 'url', action = 'invalidate', network = 'production', edgegrid = 'default', cpCodes }: {
  by?: 'url' | 'cpcode' | 'tag'
  action?: 'invalidate' | 'delete'
  network?: 'production' | 'staging'
  edgegrid?: string
  cpCodes?: number[]
} = {}): NewJob {
  return { kind: 'purge', source: { type: 'rest' }, request: {}, purge: { plan: { by, action, network, objects }, edgegrid, ...(cpCodes === undefined ? {} : { cpCodes }) } }
}

/** Adds a purge and waits for its end. */
export async function purge ({ queue }: Pick<Rig, 'queue'>, job: NewJob, ms = 30_000): Promise<JobRow> {
  const { id } = await queue.add(job)
  return await queue.wait(id, ms) as JobRow
}

/** Jobs whose copy is verified and which wait for a purge, as events leave them: one for each object. */
export async function oweByEvent (store: Store, objects: Array<string | number>, changes: Partial<Owing> = {}, lane = (n: number) => `default/1/${n}`): Promise<string[]> {
  const ids = objects.map(() => newJobId(Date.now()))
  await store.withTx(async tx => {
    await sql`insert into jobs (id, kind, state, request, source, timeline, purge, created_at)
      select id, 'sync', 'settling', '{}', '{"type": "events"}', '[]', '{"by": "url", "action": "invalidate", "network": "production", "objects": []}', now()
      from unnest(${ids}::uuid[]) as id`.execute(tx.kysely)
    await owe(tx, objects.map((object, n) => ({
      lane: lane(n),
      edgegrid: 'default',
      network: 'production',
      type: 'url',
      action: 'invalidate',
      objects: [object],
      asked: true,
      delayMs: 0,
      priority: priorities.event,
      repeat: false,
      jobIds: [ids[n] as string],
      ...changes
    })))
  })
  return ids
}

/** Waits until something holds; the test's own time limit ends it otherwise. */
export async function until (holds: () => unknown): Promise<void> {
  while (!await holds()) await new Promise(resolve => { setTimeout(resolve, 20) })
}

/** Makes every probe of a paused lane due at once, from now on. */
export function hastenProbes (t: Teardown, store: Store): void {
  const timer = setInterval(() => { sql`update pauses set next_probe_at = now() - interval '1 minute'`.execute(store.kysely).catch(() => {}) }, 100)
  t.teardown(() => { clearInterval(timer) })
}

/** Lets time pass for what is owed: instead of the clock, every moment in the tables is moved back. */
export async function letPass (store: Store, ms: number): Promise<void> {
  await sql`update debts set due_at = due_at - ${ms}::int * interval '1 millisecond', first_at = first_at - ${ms}::int * interval '1 millisecond',
    settled_at = settled_at - ${ms}::int * interval '1 millisecond', claimed_until = claimed_until - ${ms}::int * interval '1 millisecond'`.execute(store.kysely)
  await sql`update waiters set settled_at = settled_at - ${ms}::int * interval '1 millisecond'`.execute(store.kysely)
}
