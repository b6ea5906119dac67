import fp from 'fastify-plugin'
import { sql } from 'kysely'
import type { Config } from '../config.ts'
import { startDispatcher, type Dispatcher } from '../jobs/dispatcher.ts'
import { sweep } from '../jobs/lanes.ts'
import { createPauses } from '../jobs/pauses.ts'
import { startPlanner, type Planner } from '../jobs/purge-planner.ts'
import type { JobFilter } from '../jobs/list.ts'
import { createQueue } from '../jobs/queue.ts'
import { createRequests } from '../jobs/requests.ts'
import { createSyncObject, passes } from '../jobs/sync-object.ts'
import { toJob } from '../jobs/job.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import { createNetStorageClient } from '../netstorage/client.ts'
import { createPurgeClient } from '../purge/client.ts'
import { createS3Client } from '../s3/client.ts'
import { createS3Objects } from '../s3/objects.ts'
import type { Job, PurgeBody, SyncBody, UploadBody } from '../schemas.ts'
import { embedded } from '../store/embedded.ts'
import { postgres } from '../store/postgres.ts'
import type { JobSource, JobRow, DebtRow, ObjectRow } from '../store/tables.ts'

/** What routes may ask of the work. */
export interface Jobs {
  sync: (body: SyncBody, source: JobSource) => Promise<Job>
  upload: (body: UploadBody, source: JobSource) => Promise<Job>
  purge: (body: PurgeBody, source: JobSource) => Promise<Job>
  find: (id: string) => Promise<Job | undefined>
  list: (filter: JobFilter) => Promise<Job[]>
  wait: (id: string, ms: number) => Promise<Job | undefined>
  object: (bucket: string, key: string) => Promise<Array<{ object: ObjectRow, owed: DebtRow[] }>>
  /** Each check by its name: undefined = fine, else what is wrong. */
  health: () => Promise<{ ready: boolean, checks: Array<{ name: string, ok: boolean, detail?: string }> }>
}

declare module 'fastify' {
  interface FastifyInstance {
    jobs: Jobs
    metrics: Metrics
    /** Brings the gauges of the queues up to date. */
    measureQueues: () => Promise<void>
    /** True from the first SIGTERM on. */
    isStopping: () => boolean
    beginStop: () => void
  }
}

/** The only place that wires the work: store, clients, queue, dispatcher and planner, and their end in reverse. */
export default fp<{ config: Config, now: () => Date }>(async (app, { config, now }) => {
  const { log } = app
  const metrics = createMetrics()
  const store = config.databaseUrl === undefined
    ? await embedded({ dir: config.dataDir, log, onDeath: error => { log.fatal({ err: error }, 'the embedded database died'); process.exit(70) } })
    : await postgres({ url: config.databaseUrl, log })
  app.addHook('onClose', async () => { await store.close() })

  const pauses = createPauses(store, now, (name, reason) => {
    metrics.paused.set({ target: name }, reason === undefined ? 0 : 1)
    if (reason === undefined) log.info({ target: name }, `resumed ${name}`)
    else log.error({ target: name }, `paused ${name}: ${reason}`)
  })
  await pauses.refresh()

  const count = (upstream: string) => ({ action, status }: { action: string, status: number | string }) => { metrics.upstream.inc({ upstream, action, status: String(status) }) }
  const s3Client = createS3Client({ region: config.s3.region, ...(config.s3.endpoint === undefined ? {} : { endpoint: config.s3.endpoint }) })
  const s3 = createS3Objects({ client: s3Client, stallTimeoutMs: config.stallTimeoutMs, onRequest: count('s3') })
  const netstorage = createNetStorageClient({
    ...config.netstorage,
    stallTimeoutMs: config.stallTimeoutMs,
    onRequest: count('netstorage'),
    onClockOffset: offsetSeconds => { log.warn({ offsetSeconds }, `the clock differs from NetStorage's by ${offsetSeconds} s: requests are signed with the corrected time; mend the clock of this machine`) }
  })
  const targets = new Map([['default', netstorage]])
  const purgeClients = new Map(config.edgegrid === undefined ? [] : [['default', createPurgeClient({ ...config.edgegrid, onRequest: count('fast-purge') })]])
  app.addHook('onClose', async () => { netstorage.close(); s3Client.destroy() })

  let dispatcher: Dispatcher | undefined
  let planner: Planner | undefined
  const queue = createQueue({ store, now, onAdded: () => { dispatcher?.kick(); planner?.kick() } })
  const isPaused = (target: string) => pauses.reasons().has(`netstorage:${target}`)

  if (config.role !== 'web') {
    const syncObject = createSyncObject({
      store,
      s3,
      targets,
      pauses,
      now,
      log,
      rules: () => config.rules,
      purgeDelayMs: config.purge.delayMs,
      purgeRepeat: config.purge.repeatMs > 0,
      verifyTimeoutMs: config.verifyTimeoutMs,
      retryMs: config.retryMs,
      onDone ({ kind, outcome, count: jobs, bytes, ms }) {
        metrics.uploadBytes.inc(bytes)
        metrics.stage.observe({ stage: 'copy' }, ms / 1000)
        if (['failed', 'held', 'ignored'].includes(outcome)) metrics.jobs.inc({ kind, outcome }, jobs)
        planner?.kick()
      }
    })
    planner = startPlanner({
      store,
      pauses,
      now,
      log,
      clients: purgeClients,
      repeatMs: config.purge.repeatMs,
      retryMs: config.retryMs,
      onDone (jobs) {
        for (const { kind, outcome, state, created_at: createdAt } of jobs) {
          metrics.jobs.inc({ kind, outcome: outcome ?? state })
          if (state === 'succeeded') metrics.eventToPurge.observe((now().getTime() - createdAt.getTime()) / 1000)
        }
      }
    })
    dispatcher = await startDispatcher({ store, targets: [...targets.keys()], concurrency: config.concurrency, isPaused, run: syncObject, log })
    app.addHook('onClose', async () => {
      await dispatcher?.stop(config.shutdownTimeoutMs)
      await planner?.stop()
    })
  }

  // Once a second: who is paused, whether a probe is due, and every few seconds whether a lane was forgotten.
  const probe = async (name: string): Promise<boolean> => {
    const [kind, which = ''] = name.split(/:(.*)/s)
    if (kind === 'edgegrid') return await planner?.probe(which) ?? false
    if (kind === 's3') return await passes(async () => { await s3.probeBucket(which) })
    return await passes(async () => { await netstorage.stat({ cpCode: config.netstorage.cpCodes[0] as number, path: '' }) })
  }
  let beat = 0
  const upkeep = async (): Promise<void> => {
    await pauses.refresh()
    if (config.role === 'web') return
    for (const name of await pauses.takeProbes()) {
      if (!await probe(name)) continue
      await pauses.resume(name)
      dispatcher?.kick()
      planner?.kick()
    }
    if (++beat % 5 === 0) await sweep(store, now())
    if (beat % 3600 === 1) await dropOld(now().getTime() - config.retentionDays * 86_400_000)
  }
  const dropOld = async (before: number): Promise<void> => {
    await sql`delete from jobs where id in (select id from jobs where finished_at is not null and created_at < ${new Date(before)}::timestamptz
      and not exists (select from waiters where job_id = jobs.id) limit 10000)`.execute(store.kysely)
    await sql`delete from purges where accepted_at < ${new Date(before)}::timestamptz`.execute(store.kysely)
  }
  let timer: NodeJS.Timeout | undefined
  let upkeeping: Promise<void> | undefined
  let closed = false
  const tick = (): void => {
    upkeeping = upkeep().catch(error => { log.warn({ err: error }, 'upkeep failed; trying again') }).finally(() => { if (!closed) timer = setTimeout(tick, 1000) })
  }
  tick()
  app.addHook('onClose', async () => {
    closed = true
    clearTimeout(timer)
    queue.close()
    await upkeeping
  })

  const link = (id: string) => `${config.publicUrl ?? ''}/jobs/${id}`
  const show = (row: JobRow) => toJob(row, link(row.id), true)
  const requests = createRequests({ rules: () => config.rules, buckets: config.s3.buckets, cpCodes: config.netstorage.cpCodes, hosts: config.purge.hosts })
  app.decorate('jobs', {
    sync: async (body, source) => show(await queue.add(requests.sync(body, source))),
    upload: async (body, source) => show(await queue.add(requests.upload(body, source))),
    purge: async (body, source) => show(await queue.add(requests.purge(body, source))),
    async find (id) {
      const row = await queue.find(id)
      return row === undefined ? undefined : show(row)
    },
    list: async filter => (await queue.list(filter)).map(row => toJob(row, link(row.id), false)),
    async wait (id, ms) {
      const row = await queue.wait(id, ms)
      return row === undefined ? undefined : show(row)
    },
    object: queue.object,
    async health () {
      const database = await store.ping().then(() => undefined, (error: Error) => error.message)
      const checks = [
        { name: 'database', ok: database === undefined, ...(database === undefined ? {} : { detail: 'does not answer' }) },
        { name: 'stopping', ok: !stopping, ...(stopping ? { detail: 'no new work is taken' } : {}) },
        ...[...pauses.reasons()].map(([name, detail]) => ({ name, ok: false, detail }))
      ]
      // A paused target loses nothing and must not take the service out of its load balancer.
      return { ready: database === undefined && !stopping, checks }
    }
  })

  let stopping = false
  app.decorate('isStopping', () => stopping)
  app.decorate('beginStop', () => { stopping = true })
  app.decorate('metrics', metrics)
  app.decorate('measureQueues', async () => {
    const { rows } = await sql<{ queue: string, depth: number, oldest: Date | null }>`
      select 'jobs' as queue, count(*) as depth, min(created_at) as oldest from jobs where state in ('queued', 'uploading')
      union all select 'purges', count(*), min(due_at) from debts where due_at <= now()`.execute(store.kysely)
    for (const { queue: name, depth, oldest } of rows) {
      metrics.queueDepth.set({ queue: name }, Number(depth))
      metrics.oldestWaiting.set({ queue: name }, oldest === null ? 0 : Math.max(0, (now().getTime() - oldest.getTime()) / 1000))
    }
  })
}, { name: 'jobs' })
