import { sql } from 'kysely'
import type { PgBoss } from 'pg-boss'
import type { Problem } from '../../errors.ts'
import type { Store, Trip, Tx } from '../../store/store.ts'
import type { JobRow, PurgeWish } from '../../store/tables.ts'
import { endCancelled } from '../acting/cancel.ts'
import { step } from '../job.ts'

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
  /** One for each caller that wants a purge, and whether it is an event. */
  wishes: Array<{ wish: PurgeWish, byEvent: boolean }>
}

interface Calling { startAfter?: Date, priority?: number }

/** Stores a wake-up for each lane, see `packWakeUps`. */
export async function wake (boss: PgBoss, tx: Tx, lanes: Array<{ target: string, lane: string }>, calling: Calling = {}): Promise<void> {
  if (lanes.length === 0) return
  const trip = tx.trip()
  packWakeUps(boss, tx, trip, lanes, calling)
  await trip.send()
}

/**
 * Adds a wake-up for each lane to a trip. There is at most one waiting wake-up a lane; one that waits for a later
 * attempt is called earlier when no `startAfter` is given, right after the commit, or else by `sweep`.
 */
export function packWakeUps (boss: PgBoss, tx: Tx, trip: Trip, lanes: Array<{ target: string, lane: string }>, { startAfter, priority }: Calling = {}): void {
  // In one order: two transactions that call the same lanes would else wait for one another.
  for (const [target, mine] of [...Map.groupBy(lanes, each => each.target)].sort(([one], [other]) => one < other ? -1 : 1)) {
    const wanted = [...new Set(mine.map(each => each.lane))].sort()
    const jobs = wanted.map(lane => ({ singletonKey: lane, data: { lane }, ...(startAfter === undefined ? {} : { startAfter }), ...(priority === undefined ? {} : { priority }) }))
    const inserted = trip.boss(async db => await boss.insert(queueOf(target), jobs, { db, returnId: true }))
    if (startAfter !== undefined) continue
    tx.afterCommit(async kysely => {
      if ((await inserted)?.length !== wanted.length) await callEarlier(kysely, target, wanted)
    })
  }
}

/** Lets wake-ups that wait for a later attempt be fetched now. */
async function callEarlier (kysely: Store['kysely'], target: string, lanes: string[]): Promise<void> {
  // Spelt as the index of pg-boss has it, lane by lane: with a long queue anything else reads all of it.
  await sql`
    update pgboss.job set start_after = pgboss.job_now()
    from unnest(${lanes}::text[]) as wanted (lane) cross join lateral (
      select id from pgboss.job where name = ${queueOf(target)} and policy = 'stately' and state <= 'active' and state = 'created'
        and coalesce(singleton_key, '') = wanted.lane and start_after > pgboss.job_now() + interval '1 second' limit 1
    ) as late
    where job.name = ${queueOf(target)} and job.id = late.id`.execute(kysely)
}

/**
 * Takes what waits in each of some lanes, in order of arrival, as far as it may merge. A lane where nothing is to be
 * done is missing from the answer. What is left to be written goes with `trip`.
 */
export async function claim (boss: PgBoss, tx: Tx, trip: Trip, lanes: string[], now: Date): Promise<Map<string, Work>> {
  let open = await lockOpen(tx, lanes)
  // What a worker that died had uploaded may have arrived, and nobody noted its mtime: whatever becomes of this run, the ledger knows.
  const orphaned = open.filter(row => row.state === 'uploading').map(row => row.lane)
  if (orphaned.length > 0) await sql`update objects set pending = true, mtime = greatest(mtime + 1, ${Math.floor(now.getTime() / 1000)}::bigint) where lane = any(${orphaned}::text[])`.execute(tx.kysely)
  const marked = open.filter(row => row.cancel_requested)
  if (marked.length > 0) {
    for (const row of marked) await endCancelled(boss, tx, row, now)
    open = await lockOpen(tx, lanes)
  }
  const groups = [...Map.groupBy(open, row => row.lane)].flatMap(([lane, rows]) => {
    const group = pickGroup(rows, now)
    return group === undefined ? [] : [{ lane, overtaken: group.slice(0, -1).map(row => row.id), doer: group.at(-1) as JobRow, attempts: Math.max(...group.map(row => row.attempts)) + 1, interrupted: group.some(row => row.state === 'uploading') }]
  })
  if (groups.length === 0) return new Map()
  for (const { overtaken, doer } of groups) {
    if (overtaken.length === 0) continue
    await sql`update jobs set merged_into = ${doer.id}, timeline = timeline || ${step(now, 'merged', `overtaken by ${doer.id}`)}::jsonb
      where id = any(${overtaken}::uuid[]) or merged_into = any(${overtaken}::uuid[])`.execute(tx.kysely)
  }
  const doers = groups.map(({ doer }) => doer.id)
  // Only what was overtaken, now or by an earlier run, rides along.
  const mayLead = groups.some(({ overtaken, doer }) => overtaken.length > 0 || doer.started_at !== null)
  const led = mayLead ? await tx.kysely.selectFrom('jobs').select(['id', 'merged_into', 'kind', 'request', 'source']).where('merged_into', 'in', doers).execute() : []
  const members = Map.groupBy(led, row => row.merged_into)
  const taken = groups.flatMap(({ doer, attempts }) => [doer.id, ...(members.get(doer.id) ?? []).map(row => row.id)].map(id => ({ id, attempts })))
  trip.add(sql`
    update jobs set state = 'uploading', attempts = taken.attempts, next_attempt_at = null, sent_bytes = null,
      started_at = coalesce(started_at, ${now}::timestamptz), timeline = timeline || taken.step
    from unnest(${taken.map(each => each.id)}::uuid[], ${taken.map(each => each.attempts)}::int[], ${taken.map(each => step(now, 'uploading', `attempt ${each.attempts}`))}::text[]::jsonb[]) as taken (id, attempts, step)
    where jobs.id = taken.id and finished_at is null`)
  return new Map(groups.map(({ lane, doer, attempts, interrupted }) => [lane, toWork({ ...doer, attempts }, members.get(doer.id) ?? [], interrupted)]))
}

/** All that is open in some lanes, oldest first. */
async function lockOpen (tx: Tx, lanes: string[]): Promise<Array<JobRow & { lane: string }>> {
  const { rows } = await sql<JobRow & { lane: string }>`
    select open.* from unnest(${lanes}::text[]) as wanted (wanted_lane) cross join lateral (
      select * from jobs where lane = wanted_lane collate "C" and state in ('queued', 'uploading', 'held') and merged_into is null
      order by id limit 500 for update
    ) as open order by open.id`.execute(tx.kysely)
  return rows
}

/** The jobs of a lane that are done together now, oldest first; undefined if all of them must wait. */
function pickGroup (open: JobRow[], now: Date): JobRow[] | undefined {
  // What is held waits for an operator, or for a later job that does its work along with its own.
  const rows = open.slice(0, open.findLastIndex(row => row.state !== 'held') + 1)
  const first = rows[0]
  if (first === undefined) return undefined
  const mates = first.solo ? 1 : rows.findIndex(row => row.solo || row.key !== first.key || row.bucket !== first.bucket)
  const group = rows.slice(0, mates === -1 ? rows.length : mates)
  return group.every(row => row.next_attempt_at !== null && row.next_attempt_at > now) ? undefined : group
}

/** What a job and those that ride along with it come to. */
function toWork (doer: JobRow, members: Array<Pick<JobRow, 'id' | 'kind' | 'request' | 'source'>>, interrupted: boolean): Work {
  const all = [...members, doer]
  const deleters = all.filter(row => row.request.onMissing === 'delete')
  return {
    doer,
    jobIds: all.map(row => row.id),
    kind: all.some(row => row.kind === 'sync') ? 'sync' : 'upload',
    force: all.some(row => row.request.force === true),
    onMissing: deleters.length > 0 ? 'delete' : 'fail',
    deleteByEvents: deleters.every(row => row.source.type !== 'rest' && row.request.released !== true),
    released: all.some(row => row.request.released === true),
    interrupted,
    wishes: all.filter(row => row.kind === 'sync').map(row => ({ wish: row.request.purge ?? {}, byEvent: row.source.type !== 'rest' }))
  }
}

/** Changes a job whose run is over, together with all that ride along with it. If it is not finished by that and its caller no longer wants it, it ends. */
export async function advance (boss: PgBoss, tx: Tx, doerId: string, now: Date, assignments: ReturnType<typeof sql>): Promise<void> {
  const { rows } = await sql<Pick<JobRow, 'id' | 'target' | 'lane' | 'cancel_requested' | 'finished_at'>>`update jobs set ${assignments}
    where finished_at is null and (id = ${doerId} or merged_into = ${doerId}) returning id, target, lane, cancel_requested, finished_at`.execute(tx.kysely)
  for (const row of rows) if (row.cancel_requested && row.finished_at === null) await endCancelled(boss, tx, row, now)
}

/**
 * Ends the runs of lanes in the caller's transaction: their wake-ups are done, and where jobs wait, there is another
 * one. Throws LeaseLost if a wake-up was taken over meanwhile; then the whole transaction must not happen. Returns
 * whether something can be done at once.
 */
export async function release (boss: PgBoss, tx: Tx, target: string, wakeUps: WakeUp[], priority?: number): Promise<boolean> {
  const trip = tx.trip()
  const [waiting] = await Promise.all([packRelease(boss, trip, target, wakeUps), trip.send()])
  return await callAgain(boss, tx, target, waiting, priority)
}

/** What ending the runs of lanes showed: the jobs that wait in them. */
export type Ended = Array<{ lane: string, next_attempt_at: Date | null }>

/** The first half of `release`, which goes with other statements; `callAgain` is the second. */
export async function packRelease (boss: PgBoss, trip: Trip, target: string, wakeUps: WakeUp[]): Promise<Ended> {
  const completed = trip.boss(async db => await boss.complete(queueOf(target), wakeUps.map(({ id, retryCount }) => ({ id, retryCount })), null, { db }))
  const waiting = trip.add<{ lane: string, next_attempt_at: Date | null }>(sql`select lane, next_attempt_at from jobs
    where lane = any(${wakeUps.map(each => each.lane)}::text[]) and state = 'queued' and merged_into is null`)
  const { settled } = await completed as unknown as Settled
  const lost = wakeUps.find(({ id }) => !settled.includes(id))
  if (lost !== undefined) throw new LeaseLost(`the lane ${lost.lane} was taken over`)
  return await waiting
}

/** Wakes the lanes that still have work. Returns whether something can be done at once. */
export async function callAgain (boss: PgBoss, tx: Tx, target: string, waiting: Ended, priority?: number): Promise<boolean> {
  const calls = [...Map.groupBy(waiting, row => row.lane)].map(([lane, rows]) => ({ target, lane, at: Math.min(...rows.map(row => row.next_attempt_at?.getTime() ?? 0)) }))
  const atOnce = calls.filter(({ at }) => at === 0)
  await wake(boss, tx, atOnce, priority === undefined ? {} : { priority })
  for (const call of calls) if (call.at !== 0) await wake(boss, tx, [call], { startAfter: new Date(call.at) })
  return atOnce.length > 0
}

/** Gives the work back to the queue. `countsAttempt` is false where the failure says nothing about the job. */
export async function requeue (boss: PgBoss, tx: Tx, work: Work, now: Date, at: Date | null, problem: Problem | undefined, countsAttempt: boolean, words = problem?.detail ?? 'given back'): Promise<void> {
  await advance(boss, tx, work.doer.id, now, sql`state = 'queued', attempts = ${countsAttempt ? work.doer.attempts : work.doer.attempts - 1},
    error = ${problem === undefined ? null : JSON.stringify(problem)}::jsonb, next_attempt_at = ${at}::timestamptz,
    timeline = timeline || ${step(now, 'queued', words)}::jsonb`)
}

/** The end of a failed job, or of one that is held for an operator. */
export async function stop (boss: PgBoss, tx: Tx, work: Work, now: Date, state: 'failed' | 'held', problem: Problem): Promise<void> {
  await advance(boss, tx, work.doer.id, now, sql`state = ${state}, error = ${JSON.stringify(problem)}::jsonb, next_attempt_at = null,
    finished_at = ${state === 'failed' ? now : null}::timestamptz, timeline = timeline || ${step(now, state, problem.detail)}::jsonb`)
}

/**
 * Wakes lanes that have work but no wake-up, or one that comes too late, whatever the reason: our job table is the truth.
 * Returns how many. A difference of two sets, because a join of tables without statistics would compare each with each.
 */
export async function sweep (store: Store, now: Date): Promise<number> {
  return await store.withTx(async tx => {
    const { rows } = await sql<{ target: string, lane: string }>`
      select target, lane from jobs
      where state = 'queued' and lane is not null and merged_into is null and (next_attempt_at is null or next_attempt_at <= ${now}::timestamptz)
        and created_at < ${new Date(now.getTime() - 5000)}::timestamptz
      except
      select substr(name, length(${queueOf('')}) + 1), singleton_key from pgboss.job where starts_with(name, ${queueOf('')}) and state <= 'active'
        and start_after <= now() + interval '1 second'
      limit 500`.execute(tx.kysely)
    await wake(store.boss, tx, rows)
    return rows.length
  })
}
