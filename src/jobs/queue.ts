import { sql } from 'kysely'
import { AppError } from '../errors.ts'
import { coalesce } from '../store/coalesce.ts'
import type { Store, Tx } from '../store/store.ts'
import type { JobRow } from '../store/tables.ts'
import { packCallIn, packOwe, restPriority } from './debts/owe.ts'
import { createFind } from './find.ts'
import type { Feed } from './follow/feed.ts'
import { recall, reserve, type Repeatable } from './idempotency.ts'
import { laneOf, newJobId, stepOf, type ListedJob, type NewJob } from './job.ts'
import { packWakeUps } from './lanes/lanes.ts'
import { listJobs, type JobFilter } from './list.ts'

/** Our words over the store: add a job, find jobs, wait for one. */
export interface Queue {
  /** Resolves once the job is durably stored; rejects with `store_unavailable` if it may not be. */
  add: (job: NewJob, repeat?: Repeatable) => Promise<JobRow>
  /** The job that this very request started before, if it did. */
  recall: (repeat: Repeatable) => Promise<JobRow | undefined>
  find: (id: string) => Promise<JobRow | undefined>
  list: (filter: JobFilter) => Promise<ListedJob[]>
  /** The job as it is when it ends (or `isOver`), or after `ms`, or when the service stops; undefined when whoever waits is `gone`. */
  wait: (id: string, ms: number, options?: WaitOptions) => Promise<JobRow | undefined>
  close: () => void
}

export interface WaitOptions { isOver?: (row: JobRow) => boolean, gone?: AbortSignal }

export interface QueueOptions {
  store: Store
  feed: Feed
  now: () => Date
  /** Called when there is something new to do; only copies, if nothing is owed to the edge yet. */
  onAdded: (only?: 'copies') => void
}

/** Where so many called at once, the next call of each is about to come: one commit for all of them is cheaper than two. */
const manyCallers = 4
const lingerMs = 4

export function createQueue ({ store, now, onAdded, feed }: QueueOptions): Queue {
  const waiting = new Set<() => void>()
  let closed = false

  const insert = coalesce<Wanted, JobRow | AppError>(async items => {
    try {
      return await store.withTx(async tx => await storeOnce(store, tx, items, now()), { goesAhead: true })
    } catch (cause) {
      if (items.length > 1) throw cause
      throw new AppError('store_unavailable', 'The job could not be stored. Nothing was started; try again.', { cause })
    }
  }, { lingerMs: last => last < manyCallers ? 0 : lingerMs })

  const find = createFind(store)

  return {
    find,
    async add (job, repeat) {
      const row = await insert({ job, repeat })
      if (row instanceof AppError) throw row
      onAdded(job.purge === undefined ? 'copies' : undefined)
      return row
    },
    recall: async repeat => await recall(store.kysely, repeat, now()),
    list: async filter => await store.goAhead(async () => await listJobs(store.kysely, filter)),
    async wait (id, ms, { isOver = (row: JobRow) => row.finished_at !== null, gone }: WaitOptions = {}) {
      const over = Promise.withResolvers<JobRow | undefined>()
      const end = (): void => { over.resolve(undefined) }
      const isGone = (): boolean => gone?.aborted === true
      const leave = await feed.watch(id, row => { if (isOver(row)) over.resolve(row) }).catch(() => () => {})
      const timer = setTimeout(end, closed ? 0 : ms)
      waiting.add(end)
      gone?.addEventListener('abort', end)
      try {
        const row = await find(id)
        if (row === undefined || isOver(row)) return row
        const ended = isGone() ? undefined : await over.promise
        return ended ?? (isGone() ? undefined : await find(id))
      } finally {
        clearTimeout(timer)
        waiting.delete(end)
        gone?.removeEventListener('abort', end)
        leave()
      }
    },
    close () {
      closed = true
      for (const done of waiting) done()
    }
  }
}

interface Wanted { job: NewJob, repeat: Repeatable | undefined }

/** Stores jobs, but for a repeated request finds the one it started before. Ends the transaction. */
async function storeOnce (store: Store, tx: Tx, items: Wanted[], now: Date): Promise<Array<JobRow | AppError>> {
  const jobs = items.map(({ job, repeat }) => ({ ...job, id: newJobId(now.getTime()), repeat }))
  const repeated = jobs.flatMap(({ id, repeat }) => repeat === undefined ? [] : [{ ...repeat, jobId: id }])
  const stands = await reserve(tx, repeated, now)
  const outcomes = new Map(repeated.map(({ jobId }, index) => [jobId, stands[index] as string | AppError]))
  const before = repeated.flatMap(({ jobId }) => { const outcome = outcomes.get(jobId); return typeof outcome === 'string' && outcome !== jobId ? [outcome] : [] })
  const known = before.length === 0 ? [] : await tx.kysely.selectFrom('jobs').selectAll().where('id', 'in', before).execute()
  const stored = await storeJobs(store, tx, jobs.filter(({ id }) => (outcomes.get(id) ?? id) === id), now)
  const byId = new Map<string, JobRow>([...known, ...stored.map(row => ({ ...untouched, ...row }))].map(row => [row.id, row]))
  return jobs.map(({ id }) => {
    const outcome = outcomes.get(id) ?? id
    // A job that is forgotten already, though its key is not, was kept for less than a day by the clock of another replica.
    return outcome instanceof AppError ? outcome : byId.get(outcome) ?? new AppError('store_unavailable', 'The job of this Idempotency-Key is no longer kept: use a new key.')
  })
}

/**
 * One transaction for all that arrived together: after what `trip` holds already, their rows, their wake-ups and what
 * they owe. Ends the transaction. Returns what was stored of each.
 */
export async function storeJobs (store: Store, tx: Tx, items: NewJob[], now: Date, trip = tx.trip()) {
  const rows = items.map(item => toRow(item, now))
  if (rows.length > 0) {
    const columns = sql.join(Object.keys(rows[0] as object).map(name => sql.ref(name)))
    // One parameter, however many rows: the embedded database takes twice as long over thousands of them.
    trip.add(sql`insert into jobs (${columns}) select ${columns} from jsonb_populate_recordset(null::jobs, ${JSON.stringify(rows)}::jsonb)`)
  }
  packWakeUps(store.boss, tx, trip, rows.flatMap(row => row.state === 'queued' && row.lane !== null && row.target !== null ? [{ target: row.target, lane: row.lane }] : []))
  const purges = items.flatMap(({ purge }, index) => {
    const { id = '', lane = null } = rows[index] ?? {}
    return purge === undefined ? [] : [{ ...purge, id, lane, priority: restPriority(purge.plan.objects.length) }]
  })
  const calling = packCallIn(trip, purges.flatMap(({ id, lane, priority }) => lane === null ? [] : [{ lane, jobId: id, priority }]))
  packOwe(trip, purges.map(({ plan, edgegrid, cpCodes, id, lane, priority }) => ({
    lane: lane ?? '',
    edgegrid,
    network: plan.network,
    type: plan.by,
    action: plan.action,
    objects: plan.objects,
    asked: true,
    delayMs: 0,
    priority,
    repeat: false,
    ...(cpCodes === undefined ? {} : { cpCodes }),
    jobIds: [id]
  })))
  await Promise.all([calling, trip.send({ commit: true })])
  return rows
}

/** What a job has not come to when it is stored. */
const untouched = {
  outcome: null,
  merged_into: null,
  attempts: 0,
  etag: null,
  size_bytes: null,
  sent_bytes: null,
  md5: null,
  purged: null,
  cancel_requested: false,
  retried_at: null,
  next_attempt_at: null,
  revision: 0,
  uploaded_at: null,
  purged_at: null
}

function toRow (item: NewJob, now: Date) {
  return {
    id: item.id ?? newJobId(now.getTime()),
    kind: item.kind,
    state: item.problem !== undefined ? 'failed' as const : item.kind === 'purge' ? 'purging' as const : 'queued' as const,
    bucket: item.bucket ?? null,
    key: item.key ?? null,
    version_id: item.versionId?.toWellFormed() ?? null,
    rule: item.rule ?? null,
    target: item.target ?? null,
    cp_code: item.cpCode ?? null,
    path: item.path ?? null,
    lane: item.target === undefined || item.path === undefined ? null : laneOf(item.target, item.cpCode ?? 0, item.path),
    solo: item.solo ?? false,
    hint_source: item.hint?.source ?? null,
    hint: item.hint?.order ?? null,
    request: item.purge === undefined ? item.request : { ...item.request, edgegrid: item.purge.edgegrid, escalateTo: item.purge.cpCodes },
    source: item.source,
    labels: (item.labels ?? []).map(label => label.toWellFormed()),
    purge: item.purge?.plan ?? null,
    error: item.problem ?? null,
    timeline: stepOf(now, item.problem !== undefined ? 'failed' : item.kind === 'purge' ? 'purging' : 'queued', item.problem?.detail ?? `stored, from ${item.source.type}`),
    created_at: now,
    started_at: item.kind === 'purge' ? now : null,
    finished_at: item.problem === undefined ? null : now
  }
}
