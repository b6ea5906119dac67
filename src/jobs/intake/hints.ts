import { hash } from 'node:crypto'
import { sql, type RawBuilder } from 'kysely'
import type { Store, Trip, Tx } from '../../store/store.ts'
import { newJobId, type NewJob } from '../job.ts'
import { storeJobs } from '../queue.ts'
import { retryJobs } from '../acting/retry.ts'

/** One event as a hint that a key changed, with the job it asks for. */
export interface Hint {
  /** What makes another delivery the same event; none where nothing tells. */
  identities: string[]
  job: NewJob
  /** An archived object can be read again: only a job that failed for that is woken, and none is made. */
  wakesArchived?: true
}

/** What became of a hint, and which job answers for it. */
export interface Received {
  verdict: 'stored' | 'revived' | 'duplicate' | 'stale' | 'ignored'
  jobId?: string
}

const dead = ['failed', 'cancelled']

/** The one form in which an identity is kept: keys may be long, and an index must not be. */
export function identityOf (...parts: Array<string | number>): string {
  const digest = hash('sha256', JSON.stringify(parts))
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-${digest.slice(12, 16)}-${digest.slice(16, 20)}-${digest.slice(20, 32)}`
}

/**
 * Stores what is new in one transaction, however many messages it came in. An event that was seen, or that a later one
 * of its key has overtaken, is dropped only while the job that answers for it is alive or has succeeded; else that job
 * is revived. Results are in the order of the hints.
 */
export async function takeHints (store: Store, hints: readonly Hint[], now: Date): Promise<Received[]> {
  if (differ(hints)) {
    try {
      return await store.withTx(async tx => await storeNew(store, tx, hints, now), { goesAhead: true })
    } catch (error) {
      if (!isSeen(error)) throw error
    }
  }
  return await store.withTx(async tx => await takeSeen(store, tx, hints, now), { goesAhead: true })
}

/** Whether each of them asks for a job of its own, as far as they can tell. */
function differ (hints: readonly Hint[]): boolean {
  const identities = hints.flatMap(hint => hint.identities)
  return hints.every(hint => hint.wakesArchived !== true) && new Set(identities).size === identities.length
}

const uniqueViolation = '23505'
const overtakenState = 'EF001'
const isSeen = (error: unknown): boolean => [uniqueViolation, overtakenState].includes((error as { code?: string }).code ?? '')

/**
 * Stores all of them in one trip, as nearly always nothing was seen before. Where something was, a statement fails and
 * nothing is stored. Ends the transaction.
 */
async function storeNew (store: Store, tx: Tx, hints: readonly Hint[], now: Date): Promise<Received[]> {
  const jobs = hints.map(({ job }) => ({ ...job, id: newJobId(now.getTime()) }))
  const trip = tx.trip()
  packMarks(trip, hints.flatMap(({ identities }, index) => identities.map(identity => ({ identity, jobId: jobs[index]?.id ?? '' }))), now, sql``)
  const overtaken = selectOvertaken(hints)
  if (overtaken !== undefined) trip.add(sql`select edgeferry.refuse(${overtakenState}, 'a later event has its job') where exists (${overtaken})`)
  await storeJobs(store, tx, jobs, now, trip)
  return jobs.map(({ id }) => ({ verdict: 'stored', jobId: id }))
}

/** Looks at what was seen first. Ends the transaction. */
async function takeSeen (store: Store, tx: Tx, hints: readonly Hint[], now: Date): Promise<Received[]> {
  const trip = tx.trip()
  const [known, overtaken] = await Promise.all([findSeen(trip, hints.flatMap(hint => hint.identities)), findOvertaken(trip, hints), trip.send()])
  const archived = await findArchived(tx, hints.filter(hint => hint.wakesArchived))
  const results: Received[] = []
  const fresh: number[] = []
  const toRevive = new Set<string>()
  const inThisBatch = new Map<string, number>()
  for (const [index, hint] of hints.entries()) {
    const seen = hint.identities.map(identity => known.get(identity)).find(job => job !== undefined)
    const twin = hint.identities.map(identity => inThisBatch.get(identity)).find(at => at !== undefined)
    if (hint.wakesArchived) {
      const jobId = archived.get(nameOf(hint))
      results.push(jobId === undefined ? { verdict: 'ignored' } : { verdict: 'revived', jobId })
      if (jobId !== undefined) toRevive.add(jobId)
    } else if (seen !== undefined && (!dead.includes(seen.state) || !seen.mayRevive)) results.push({ verdict: 'duplicate', jobId: seen.id })
    else if (overtaken.has(index)) results.push({ verdict: 'stale' })
    else if (seen !== undefined) {
      toRevive.add(seen.id)
      results.push({ verdict: 'revived', jobId: seen.id })
    } else if (twin !== undefined) results.push({ verdict: 'duplicate' })
    else {
      for (const identity of hint.identities) inThisBatch.set(identity, index)
      fresh.push(index)
      results.push({ verdict: 'stored' })
    }
  }
  await retryJobs(store.boss, tx, [...toRevive], now, 'the event was delivered again')
  const jobs = fresh.map(index => ({ ...(hints[index] as Hint).job, id: newJobId(now.getTime()) }))
  for (const [place, index] of fresh.entries()) results[index] = { verdict: 'stored', jobId: (jobs[place] as { id: string }).id }
  const marks = hints.flatMap((hint, index) => {
    const jobId = results[index]?.jobId
    return jobId === undefined || hint.wakesArchived ? [] : hint.identities.map(identity => ({ identity, jobId }))
  })
  const last = tx.trip()
  packMarks(last, marks, now, sql`on conflict (identity) do update set job_id = excluded.job_id, seen_at = excluded.seen_at`)
  await storeJobs(store, tx, jobs, now, last)
  return results
}

/** Forgets the events from before a moment: SNS itself gives up after an hour. */
export async function forgetHints (store: Store, before: Date): Promise<void> {
  await sql`delete from hints where identity in (select identity from hints where seen_at < ${before}::timestamptz limit 10000)`.execute(store.kysely)
}

/** Remembers which job answers for an event. In one order, so that no two replicas wait for one another. */
function packMarks (trip: Trip, marks: Array<{ identity: string, jobId: string }>, now: Date, onConflict: RawBuilder<unknown>): void {
  const unique = [...new Map(marks.map(mark => [mark.identity, mark.jobId]))]
  if (unique.length === 0) return
  trip.add(sql`insert into hints (identity, job_id, seen_at)
    select identity, job_id, ${now}::timestamptz from unnest(${unique.map(([identity]) => identity)}::uuid[], ${unique.map(([, jobId]) => jobId)}::uuid[]) as mark (identity, job_id)
    order by identity ${onConflict}`)
}

async function findSeen (trip: Trip, identities: string[]): Promise<Map<string, { id: string, state: string, mayRevive: boolean }>> {
  if (identities.length === 0) return new Map()
  const rows = await trip.add<{ identity: string, id: string, state: string, lane: string | null }>(sql`
    select hints.identity, jobs.id, jobs.state, jobs.lane from hints join jobs on jobs.id = hints.job_id where hints.identity = any(${identities}::uuid[])`)
  return new Map(rows.map(row => [row.identity, { id: row.id, state: row.state, mayRevive: row.lane !== null }]))
}

/** The hints for which a job with an equal or later one is alive or has succeeded: it saw, or will see, what they tell of. */
async function findOvertaken (trip: Trip, hints: readonly Hint[]): Promise<Set<number>> {
  const overtaken = selectOvertaken(hints)
  return new Set(overtaken === undefined ? [] : (await trip.add(overtaken)).map(row => row.index))
}

/** Selects those hints by their places; undefined where none says when it happened. */
function selectOvertaken (hints: readonly Hint[]): RawBuilder<{ index: number }> | undefined {
  const ordered = hints.flatMap(({ job, wakesArchived }, index) => wakesArchived || typeof job.hint?.order !== 'string' ? [] : [{ index, job, source: job.hint.source, order: job.hint.order }])
  if (ordered.length === 0) return undefined
  return sql<{ index: number }>`
    select index from unnest(${ordered.map(each => each.index)}::int[], ${ordered.map(each => each.job.bucket ?? '')}::text[], ${ordered.map(each => each.job.key ?? '')}::text[],
      ${ordered.map(each => each.source)}::text[], ${ordered.map(each => each.order)}::text[]) as given (index, bucket, key, source, hint)
    where exists (select from jobs where jobs.key = given.key and jobs.bucket = given.bucket and jobs.hint_source = given.source
      and jobs.hint >= given.hint collate "C" and jobs.hint is not null and jobs.state <> all(${dead}::text[]))`
}

const nameOf = ({ job: { bucket, key } }: Hint) => JSON.stringify([bucket, key])

/** The newest job of each object that failed because the object was archived. */
async function findArchived (tx: Tx, hints: readonly Hint[]): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const hint of hints) {
    const row = await tx.kysely.selectFrom('jobs').select('id').where('key', '=', hint.job.key ?? '').where('bucket', '=', hint.job.bucket ?? '')
      .where('state', '=', 'failed').where(sql<boolean>`error ->> 'code' = 'object_archived'`).orderBy('id', 'desc').limit(1).executeTakeFirst()
    if (row !== undefined) found.set(nameOf(hint), row.id)
  }
  return found
}
