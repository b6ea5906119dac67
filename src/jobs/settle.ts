import { sql } from 'kysely'
import type { Rule } from '../mapping.ts'
import type { Store, Trip, Tx } from '../store/store.ts'
import type { ObjectRow, PurgePlan } from '../store/tables.ts'
import type { Committed } from './copy/copy-object.ts'
import { incur } from './debts/incur.ts'
import { stepOf } from './job.ts'
import { callAgain, packRelease, type WakeUp, type Work } from './lanes/lanes.ts'

/** A first upload that is about to begin. */
export interface Pending { lane: string, target: string, work: Work }

/** Writes down, before first uploads can arrive, that what will lie at their paths may be ours. */
export async function markPending (kysely: Store['kysely'], pendings: Pending[], now: Date): Promise<void> {
  const rows = pendings.map(({ lane, target, work: { doer } }) => ({
    lane, target, cp_code: doer.cp_code as number, path: doer.path as string, bucket: doer.bucket as string, key: doer.key as string, present: false, pending: true, mtime: 0, committed_at: now, job_id: doer.id
  }))
  await sql`insert into objects (lane, target, cp_code, path, bucket, key, present, pending, mtime, committed_at, job_id)
    select lane, target, cp_code, path, bucket, key, present, pending, mtime, committed_at, job_id from jsonb_populate_recordset(null::objects, ${JSON.stringify(rows)}::jsonb)
    on conflict (lane) do update set bucket = excluded.bucket, key = excluded.key, pending = true where not objects.present`.execute(kysely)
}

/** What an attempt that verified nothing may have left behind. */
export interface Trace {
  wakeUp: WakeUp
  /** What the ledger said of the path before. */
  ledger: ObjectRow | undefined
  /** The path was marked. */
  isMarked: boolean
  /** The last bytes of an upload have left, so that it may have arrived, with this mtime. */
  uploadedMtime: number | undefined
}

/**
 * Tells the ledger what became of an attempt that verified nothing: where an upload may have arrived, it no longer says
 * for sure what lies at the path, nor how old that is; where none can have, a mark is taken back, and the path is
 * whosever it was.
 */
export async function amend (tx: Tx, { wakeUp: { lane }, ledger, isMarked, uploadedMtime }: Trace): Promise<void> {
  if (uploadedMtime !== undefined) await sql`update objects set pending = true, mtime = greatest(mtime, ${uploadedMtime}::bigint) where lane = ${lane}`.execute(tx.kysely)
  else if (isMarked && ledger === undefined) await tx.kysely.deleteFrom('objects').where('lane', '=', lane).execute()
  else if (isMarked && ledger !== undefined) await tx.kysely.updateTable('objects').set({ bucket: ledger.bucket, key: ledger.key, pending: ledger.pending }).where('lane', '=', lane).execute()
}

/** A copy that was verified. */
export interface Settlement {
  wakeUp: WakeUp
  work: Work
  rule: Rule
  target: string
  done: Committed
}

/** What follows from a settlement. */
export interface Settled { /** Its lane was called again. */ again: boolean, /** The edge is owed something. */ owes: boolean }

/** What all settlements have in common. */
export interface Terms { now: Date, purgeDelayMs: number, purgeRepeat: boolean }

/**
 * The one transaction after verified copies: ledger, debts, jobs and wake-ups of all of them, or none. Throws LeaseLost
 * if the lane of one of them was taken over.
 */
export async function settle (boss: Store['boss'], tx: Tx, settlements: Settlement[], terms: Terms): Promise<Settled[]> {
  const plans = await incur(tx, settlements, terms)
  const rows = settlements.flatMap((settlement, index) => conclude(settlement, plans[index], terms))
  const trip = tx.trip()
  packRecords(trip, settlements, terms.now)
  trip.add(sql`
    update jobs set state = s.state, outcome = s.outcome, error = null, next_attempt_at = null,
      etag = s.etag, size_bytes = s.size_bytes, md5 = s.md5, sent_bytes = s.sent_bytes, purge = s.purge, purged = null,
      uploaded_at = s.uploaded_at, finished_at = s.finished_at, timeline = timeline || s.steps
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as s (id uuid, state text, outcome text, etag text, size_bytes bigint, md5 text,
      sent_bytes bigint, purge jsonb, uploaded_at timestamptz, finished_at timestamptz, steps jsonb)
    where jobs.id = s.id and jobs.finished_at is null`)
  const targets = [...Map.groupBy(settlements, each => each.target)]
  const ending = Promise.all(targets.map(async ([target, mine]) => await packRelease(boss, trip, target, mine.map(each => each.wakeUp))))
  const [waiting] = await Promise.all([ending, trip.send()])
  const again = new Map<string, boolean>()
  for (const [index, [target]] of targets.entries()) again.set(target, await callAgain(boss, tx, target, waiting[index] ?? []))
  return settlements.map(({ target }, index) => ({ again: again.get(target) ?? false, owes: plans[index] !== undefined }))
}

/** The ledger: what lies at each path now. */
function packRecords (trip: Trip, settlements: Settlement[], now: Date): void {
  const rows = settlements.filter(({ done }) => isChange(done)).map(({ wakeUp, work: { doer }, target, done }) => ({
    lane: wakeUp.lane,
    target,
    cp_code: doer.cp_code,
    path: doer.path,
    bucket: doer.bucket,
    key: doer.key,
    present: done.present,
    pending: false,
    etag: done.etag ?? null,
    version_id: done.versionId ?? null,
    size_bytes: done.sizeBytes ?? null,
    md5: done.md5 ?? null,
    mtime: done.mtime ?? 0,
    committed_at: now,
    job_id: doer.id
  }))
  if (rows.length === 0) return
  const columns = Object.keys(rows[0] as object)
  trip.add(sql`insert into objects (${sql.join(columns.map(name => sql.ref(name)))})
    select ${sql.join(columns.map(name => sql.ref(name)))} from jsonb_populate_recordset(null::objects, ${JSON.stringify(rows)}::jsonb)
    on conflict (lane) do update set ${sql.join(columns.slice(1).map(name => sql`${sql.ref(name)} = excluded.${sql.ref(name)}`))}`)
}

const isChange = ({ outcome }: Committed): boolean => outcome === 'uploaded' || outcome === 'deleted'

/** What becomes of the jobs of a copy. */
function conclude ({ work, done }: Settlement, plan: PurgePlan | undefined, { now: at, purgeDelayMs }: Terms) {
  const { doer } = work
  const changed = isChange(done)
  const settledAt = changed ? new Date(at.getTime() + purgeDelayMs) : at
  const words = done.detail ?? { uploaded: 'verified on NetStorage', deleted: 'deleted on NetStorage', unchanged: 'NetStorage holds these bytes already', ignored: 'nothing to do' }[done.outcome]
  const over = plan === undefined
  const outcome = done.outcome === 'unchanged' && !over ? 'purged' : done.outcome
  const steps = [...stepOf(at, done.outcome, words), ...(over ? [] : stepOf(at, 'settling', `the purge follows at ${settledAt.toISOString()}`))]
  return work.jobIds.map(id => ({
    id,
    state: over ? 'succeeded' : 'settling',
    outcome: id === doer.id ? outcome : 'merged',
    etag: done.etag,
    size_bytes: done.sizeBytes,
    md5: done.md5,
    sent_bytes: done.outcome === 'uploaded' ? done.sizeBytes : undefined,
    purge: plan,
    uploaded_at: changed ? at : undefined,
    finished_at: over ? at : undefined,
    steps
  }))
}
