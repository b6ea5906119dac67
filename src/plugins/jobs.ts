import fp from 'fastify-plugin'
import { sql } from 'kysely'
import { demand, demandBucket, type Caller } from '../access/caller.ts'
import type { Config } from '../config.ts'
import { AppError } from '../errors.ts'
import { createActs } from '../jobs/acting/acts.ts'
import { onlyOf, selectPurges, toPurge, type PurgeFilter } from '../jobs/debts/history.ts'
import { createFeed } from '../jobs/follow/feed.ts'
import { createFollowAll } from '../jobs/follow/follow-all.ts'
import { createFollowJob } from '../jobs/follow/follow-job.ts'
import type { Listener } from '../jobs/follow/listener.ts'
import { repeatable } from '../jobs/idempotency.ts'
import { toJob, type ListedJob, type NewJob } from '../jobs/job.ts'
import type { JobFilter } from '../jobs/list.ts'
import { readTokens } from '../jobs/purge/limits/buckets.ts'
import { createQueue } from '../jobs/queue.ts'
import { createRequests } from '../jobs/requests.ts'
import { findStrays } from '../jobs/lanes/wake-queues.ts'
import { describePlace, describeUnknown, type Whereabouts } from '../jobs/whereabouts/describe.ts'
import { findObject } from '../jobs/whereabouts/find.ts'
import { withPause } from '../jobs/whereabouts/pause.ts'
import type { Refusal } from './reload.ts'
import type { Job, Purge, PurgeBody, SyncBody, UploadBody } from '../schemas.ts'
import type { JobRow } from '../store/tables.ts'

/** Who asks, and whether the request may be repeated. */
export interface Call {
  caller: Caller
  /** The same one stands for the same job for a day. */
  idempotencyKey?: string | undefined
}

/** What routes may ask of the work. */
export interface Jobs {
  sync: (body: SyncBody, call: Call) => Promise<Job>
  upload: (body: UploadBody, call: Call) => Promise<Job>
  purge: (body: PurgeBody, call: Call) => Promise<Job>
  /** Undefined also where the caller may not see it. */
  find: (id: string, caller: Caller) => Promise<Job | undefined>
  list: (filter: JobFilter, caller: Caller) => Promise<Job[]>
  /** The three acts upon one job; each returns it as it is then. */
  retry: (id: string, caller: Caller) => Promise<Job>
  cancel: (id: string, caller: Caller) => Promise<Job>
  release: (id: string, caller: Caller) => Promise<Job>
  /** Retries or releases all that match; returns how many. */
  retryAll: (filter: Omit<JobFilter, 'limit' | 'after'>, dryRun: boolean, caller: Caller) => Promise<number>
  /** The job when it ends or is held, or after `ms`; at once when the service stops, and undefined when whoever waits is gone. */
  wait: (id: string, ms: number, gone: AbortSignal) => Promise<Job | undefined>
  /** Tells a listener of one job to its end; false if there is nothing to tell any more. */
  follow: (id: string, caller: Caller, after: number | undefined, open: () => Listener) => Promise<boolean>
  /** Tells a listener of all jobs the caller may see, without end. */
  followAll: (caller: Caller, after: number | undefined, open: () => Listener) => Promise<void>
  /** Where an object is. */
  whereIs: (bucket: string, key: string, caller: Caller) => Promise<Whereabouts>
  /** Accepted requests. A caller that is limited to buckets has to name one of its jobs, and sees what that wanted. */
  purges: (filter: PurgeFilter, caller: Caller) => Promise<Purge[]>
  /** Each check by its name, with what is wrong. */
  health: () => Promise<{ ready: boolean, checks: Array<{ name: string, ok: boolean, detail?: string }> }>
}

declare module 'fastify' {
  interface FastifyInstance {
    jobs: Jobs
    /** Brings the gauges of the queues up to date. */
    measureQueues: () => Promise<void>
  }
}

/** Whether what was last read is in force; the faults may name what is nobody's business, so the log has them. */
function showReload (refusal: Refusal | undefined) {
  const detail = refusal === undefined ? {} : { detail: `since ${refusal.since.toISOString()} what is written was read anew and refused, with ${refusal.faults.length} faults that the log names: the rules and tokens of before stay in force` }
  return { name: 'rules', ok: refusal === undefined, ...detail }
}

/** The door between the routes and the work. */
export default fp<{ config: Config, now: () => Date }>(async (app, { config, now }) => {
  const { store, pauses } = app.clients
  const feed = createFeed({ store, log: app.log })
  const queue = createQueue({ store, feed, now, onAdded: app.kick })
  app.addHook('preClose', async () => {
    queue.close()
    await feed.close()
  })

  const link = (id: string) => `${config.publicUrl ?? ''}/jobs/${id}`
  const view = (row: ListedJob, timeline?: JobRow['timeline']) => toJob(withPause(row, pauses.reasons()), link(row.id), timeline)
  const show = (row: JobRow) => view(row, row.timeline)
  const followJob = createFollowJob({ feed, show })
  const followAll = createFollowAll({ store, feed, show: row => view(row) })
  const requests = createRequests(config.rules.current)
  /** What was asked before under the same key is answered from what came of it, whatever the rules say by now. */
  const start = async ({ caller, idempotencyKey }: Call, route: string, body: object, make: () => NewJob): Promise<Job> => {
    if (idempotencyKey === undefined) return show(await queue.add(make()))
    const repeat = repeatable(caller.token, route, idempotencyKey, body)
    return show(await queue.recall(repeat) ?? await queue.add(make(), repeat))
  }
  const acts = createActs({ store, now, onQueued: app.kick })
  /** Only on what the caller may see, and with the scope of its kind. */
  async function act (doIt: (id: string) => Promise<void>, id: string, caller: Caller): Promise<Job> {
    const row = await queue.find(id)
    if (row === undefined || !maySee(caller, row)) throw new AppError('job_not_found', `There is no job ${id}; finished jobs are kept for a while only.`)
    demand(caller, ['admin', row.kind], `the job is a ${row.kind}`)
    await doIt(id)
    return show(await queue.find(id) ?? row)
  }
  app.decorate('jobs', {
    sync: async (body, call) => await start(call, '/sync', body, () => requests.sync(body, call.caller)),
    upload: async (body, call) => await start(call, '/upload', body, () => requests.upload(body, call.caller)),
    purge: async (body, call) => await start(call, '/purge', body, () => requests.purge(body, call.caller)),
    async find (id, caller) {
      const row = await queue.find(id)
      return row === undefined || !maySee(caller, row) ? undefined : show(row)
    },
    retry: async (id, caller) => await act(acts.retry, id, caller),
    cancel: async (id, caller) => await act(acts.cancel, id, caller),
    release: async (id, caller) => await act(acts.release, id, caller),
    retryAll: async (filter, dryRun, { buckets }) => await acts.retryAll({ ...filter, ...(buckets === undefined ? {} : { buckets: [...buckets] }) }, dryRun),
    list: async (filter, { buckets }) => (await queue.list({ ...filter, ...(buckets === undefined ? {} : { buckets: [...buckets] }) })).map(row => view(row)),
    async wait (id, ms, gone) {
      // What is held goes on when an operator says so: nobody should wait for that.
      const row = await queue.wait(id, ms, { isOver: row => row.finished_at !== null || row.state === 'held', gone })
      return row === undefined ? undefined : show(row)
    },
    async follow (id, caller, after, open) {
      return await followJob(id, async id => {
        const row = await queue.find(id)
        return row === undefined || !maySee(caller, row) ? undefined : row
      }, after, open)
    },
    followAll: async (caller, after, open) => { await followAll(row => maySee(caller, row), after, open) },
    async purges (filter, caller) {
      if (caller.buckets !== undefined && filter.jobId === undefined) throw new AppError('forbidden', `The token "${caller.token}" is limited to buckets: name one of its jobs by "job".`)
      const job = caller.buckets === undefined ? undefined : await queue.find(filter.jobId as string)
      if (caller.buckets !== undefined && (job === undefined || !maySee(caller, job))) return []
      const { rows } = await selectPurges(filter).execute(store.kysely)
      return rows.map(row => job === undefined ? toPurge(row) : onlyOf(job, toPurge(row)))
    },
    async whereIs (bucket, key, caller) {
      demandBucket(caller, bucket)
      const { jobs, places } = await store.goAhead(async () => await findObject(store.kysely, bucket, key))
      const items = places.map(place => describePlace(place, pauses.reasons()))
      const summary = items.length === 0 ? describeUnknown(config.rules.current().rules, bucket, key, jobs[0]) : items.map(each => each.summary).join(' ')
      return { summary, items, jobs: jobs.map(row => view(row)) }
    },
    async health () {
      const stopping = app.isDraining()
      const database = await store.ping().then(() => undefined, (error: Error) => error.message)
      const strays = database === undefined ? await findStrays(store, Object.keys(config.rules.current().targets)) : []
      const checks = [
        { name: 'database', ok: database === undefined, ...(database === undefined ? {} : { detail: 'does not answer' }) },
        { name: 'stopping', ok: !stopping, ...(stopping ? { detail: 'running copies may finish; what is asked for now is stored, and done by another replica or after the next start' } : {}) },
        ...[...pauses.reasons()].map(([name, detail]) => ({ name, ok: false, detail })),
        showReload(app.reloadRefusal()),
        ...strays.map(target => ({ name: `target:${target}`, ok: false, detail: 'work waits for it, and the rules in force do not name it: put it back, or send SIGHUP to a worker whose rules are right, which then moves the work' }))
      ]
      // A paused target loses nothing and must not take the service out of its load balancer.
      return { ready: database === undefined && !stopping, checks }
    }
  })
  app.decorate('measureQueues', async () => {
    app.metrics.reloadRefused.set(app.reloadRefusal() === undefined ? 0 : 1)
    const { rows } = await sql<{ queue: string, depth: number, oldest: Date | null }>`
      select 'jobs' as queue, count(*) as depth, min(created_at) as oldest from jobs where state in ('queued', 'uploading')
      union all select 'purges', count(*), min(due_at) from debts where due_at <= now()`.execute(store.kysely)
    for (const { queue: name, depth, oldest } of rows) {
      app.metrics.queueDepth.set({ queue: name }, Number(depth))
      app.metrics.oldestWaiting.set({ queue: name }, oldest === null ? 0 : Math.max(0, (now().getTime() - oldest.getTime()) / 1000))
    }
    for (const [type, tokens] of await readTokens(store.kysely, config.purge.budget, now())) app.metrics.purgeTokens.set({ type }, tokens)
  })
}, { name: 'jobs', dependencies: ['clients', 'reload', 'work'] })

/** A caller that is limited to buckets sees their jobs, and of those without a bucket its own. */
function maySee ({ buckets, token }: Caller, { bucket, source }: JobRow): boolean {
  return buckets === undefined || (bucket === null ? source.token === token : buckets.has(bucket))
}
