import { sql } from 'kysely'
import type { PgBoss } from 'pg-boss'
import type { Problem } from '../errors.ts'
import type { Store, Tx } from '../store/store.ts'
import type { JobRow, PurgeWish } from '../store/tables.ts'
import { endMarked } from './acting/cancel.ts'
import { step } from './job.ts'

/** The pg-boss queue whose wake-ups point at the lanes of one target. */
export function queueOf (target: string): string {
  return `copy-${target}`
}

/** A wake-up as fetched: pg-boss settles it only for the attempt it was fetched for. */
export interface WakeUp { queue: string, id: string, retryCount: number, lane: string }

/** What pg-boss says of a command, which its types leave out: how many jobs it found in the attempt that was named. */
export interface Settled { affected: number, settled: string[] }

/** The wake-up is no longer ours: another worker took the lane over. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

/** What one run of a lane has to do: the newest job does the work, the ones it overtook ride along. */
export interface Work {
  doer: JobRow
  jobIds: string[]
  kind: 'sync' | 'upload'
  force: boolean
  onMissing: 'fail' | 'delete'
  /** Only events want it deleted if it is missing, and no operator released them: the rule and the brake decide. */
  deleteByEvents: boolean
  /** An operator decided that what it was held for is right. */
  released: boolean
  /** An earlier run died or lost its lease: what it uploaded may have arrived, and nobody noted its mtime. */
  interrupted: boolean
  /** One for each caller that wants a purge. */
  wishes: PurgeWish[]
}

/**
 * Stores a wake-up for each lane. There is at most one waiting wake-up a lane; one that waits for a later attempt is
 * called earlier when `now` is set.
 */
export async function wake (boss: PgBoss, tx: Tx, lanes: Array<{ target: string, lane: string }>, startAfter?: Date): Promise<void> {
  for (const target of new Set(lanes.map(each => each.target))) {
    const wanted = [...new Set(lanes.filter(each => each.target === target).map(each => each.lane))]
    const jobs = wanted.map(lane => ({ singletonKey: lane, data: { lane }, ...(startAfter === undefined ? {} : { startAfter }) }))
    await boss.insert(queueOf(target), jobs, { db: tx.db })
    if (startAfter !== undefined) continue
    const late = await sql<{ singleton_key: string }>`
      select singleton_key from pgboss.job where name = ${queueOf(target)} and state = 'created'
        and singleton_key = any(${wanted}::text[]) and start_after > now() + interval '1 second'`.execute(tx.kysely)
    for (const { singleton_key: singletonKey } of late.rows) {
      await boss.update(queueOf(target), undefined, { singletonKey, startAfter: new Date(), db: tx.db })
    }
  }
}

/** Takes what waits in a lane, in order of arrival, as far as it may merge. Undefined if nothing is to be done. */
export async function claim (boss: PgBoss, tx: Tx, lane: string, now: Date): Promise<Work | undefined> {
  await endMarked(boss, tx, lane, now)
  const open = await tx.kysely.selectFrom('jobs').selectAll()
    .where('lane', '=', lane).where('state', 'in', ['queued', 'uploading', 'held']).where('merged_into', 'is', null)
    .orderBy('id').limit(500).forUpdate().execute()
  // What is held waits for an operator, or for a later job that does its work along with its own.
  const rows = open.slice(0, open.findLastIndex(row => row.state !== 'held') + 1)
  const first = rows[0]
  if (first === undefined) return undefined
  const mates = first.solo ? 1 : rows.findIndex(row => row.solo || row.key !== first.key || row.bucket !== first.bucket)
  const group = rows.slice(0, mates === -1 ? rows.length : mates)
  if (group.every(row => row.next_attempt_at !== null && row.next_attempt_at > now)) return undefined
  const doer = group.at(-1) as JobRow
  const overtaken = group.slice(0, -1).map(row => row.id)
  const attempts = Math.max(...group.map(row => row.attempts)) + 1
  if (overtaken.length > 0) {
    await sql`update jobs set merged_into = ${doer.id}, timeline = timeline || ${step(now, 'merged', `overtaken by ${doer.id}`)}::jsonb
      where id = any(${overtaken}::uuid[]) or merged_into = any(${overtaken}::uuid[])`.execute(tx.kysely)
  }
  await advance(tx, doer.id, sql`state = 'uploading', attempts = ${attempts}, next_attempt_at = null, sent_bytes = null,
    started_at = coalesce(started_at, ${now}::timestamptz), timeline = timeline || ${step(now, 'uploading', `attempt ${attempts}`)}::jsonb`)
  const members = await tx.kysely.selectFrom('jobs').select(['id', 'kind', 'request', 'source']).where('merged_into', '=', doer.id).execute()
  const all = [...members, doer]
  const deleters = all.filter(row => row.request.onMissing === 'delete')
  return {
    doer: { ...doer, attempts },
    jobIds: all.map(row => row.id),
    kind: all.some(row => row.kind === 'sync') ? 'sync' : 'upload',
    force: all.some(row => row.request.force === true),
    onMissing: deleters.length > 0 ? 'delete' : 'fail',
    deleteByEvents: deleters.every(row => row.source.type !== 'rest' && row.request.released !== true),
    released: all.some(row => row.request.released === true),
    interrupted: group.some(row => row.state === 'uploading'),
    wishes: all.filter(row => row.kind === 'sync').map(row => row.request.purge ?? {})
  }
}

/** Changes a job together with all that ride along with it. */
export async function advance (tx: Tx, doerId: string, assignments: ReturnType<typeof sql>): Promise<void> {
  await sql`update jobs set ${assignments} where finished_at is null and (id = ${doerId} or merged_into = ${doerId})`.execute(tx.kysely)
}

/**
 * Ends the run of a lane in the caller's transaction: the wake-up is done, and if jobs wait, there is another one.
 * Throws LeaseLost if the wake-up was taken over meanwhile; then the whole transaction must not happen.
 */
export async function release (boss: PgBoss, tx: Tx, wakeUp: WakeUp, target: string, retryAt?: Date): Promise<void> {
  const done = await boss.complete(wakeUp.queue, { id: wakeUp.id, retryCount: wakeUp.retryCount }, null, { db: tx.db })
  if ((done as Settled).affected !== 1) throw new LeaseLost(`the lane ${wakeUp.lane} was taken over`)
  const waiting = await tx.kysely.selectFrom('jobs').select(['next_attempt_at'])
    .where('lane', '=', wakeUp.lane).where('state', '=', 'queued').where('merged_into', 'is', null).execute()
  if (waiting.length === 0) return
  const fresh = waiting.some(row => row.next_attempt_at === null)
  await wake(boss, tx, [{ target, lane: wakeUp.lane }], fresh ? undefined : retryAt ?? waiting[0]?.next_attempt_at ?? undefined)
}

/** Gives the work back to the queue. `countsAttempt` is false where the failure says nothing about the job. */
export async function requeue (tx: Tx, work: Work, now: Date, at: Date | null, problem: Problem | undefined, countsAttempt: boolean): Promise<void> {
  await advance(tx, work.doer.id, sql`state = 'queued', attempts = ${countsAttempt ? work.doer.attempts : work.doer.attempts - 1},
    error = ${problem === undefined ? null : JSON.stringify(problem)}::jsonb, next_attempt_at = ${at}::timestamptz,
    timeline = timeline || ${step(now, 'queued', problem?.detail ?? 'given back')}::jsonb`)
}

/** The end of a failed job, or of one that is held for an operator. */
export async function stop (tx: Tx, work: Work, now: Date, state: 'failed' | 'held', problem: Problem): Promise<void> {
  await advance(tx, work.doer.id, sql`state = ${state}, error = ${JSON.stringify(problem)}::jsonb, next_attempt_at = null,
    finished_at = ${state === 'failed' ? now : null}::timestamptz, timeline = timeline || ${step(now, state, problem.detail)}::jsonb`)
}

/** Wakes lanes that have work but no wake-up, whatever the reason: our job table is the truth. Returns how many. */
export async function sweep (store: Store, now: Date): Promise<number> {
  return await store.withTx(async tx => {
    const { rows } = await sql<{ target: string, lane: string }>`
      select distinct target, lane from jobs
      where state = 'queued' and lane is not null and merged_into is null and (next_attempt_at is null or next_attempt_at <= ${now}::timestamptz)
        and created_at < ${new Date(now.getTime() - 5000)}::timestamptz
        and not exists (select from pgboss.job as wake where wake.name = 'copy-' || jobs.target and wake.singleton_key = jobs.lane and wake.state < 'completed')
      limit 500`.execute(tx.kysely)
    await wake(store.boss, tx, rows)
    return rows.length
  })
}
