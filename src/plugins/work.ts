import fp from 'fastify-plugin'
import type { Config } from '../config.ts'
import { startDispatcher } from '../jobs/lanes/dispatcher.ts'
import { createProbes } from '../jobs/probes.ts'
import { createSyncObject } from '../jobs/copy/sync-object.ts'
import { startPlanner } from '../jobs/purge/planner.ts'
import { startUpkeep } from '../jobs/upkeep.ts'
import { openQueues } from '../jobs/lanes/wake-queues.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Looks for work now instead of at the next poll; where only copies may have come in, not for purges. */
    kick: (only?: 'copies') => void
    /** Takes no more work and resolves when none runs: copies may finish, then give back what is left. Meanwhile requests are served. */
    drain: () => Promise<void>
    isDraining: () => boolean
  }
}

/** Shares of the shutdown time: when copies are aborted, and when nothing is waited for any longer. */
const abortAt = 0.8
const leaveAt = 0.9

/** What works in the background: the copies, the purges and the upkeep, started in this order and ended in reverse. */
export default fp<{ config: Config, now: () => Date, heartbeatSeconds?: number | undefined }>(async (app, { config, now, heartbeatSeconds }) => {
  const { log, metrics } = app
  const { store, s3, targets, purge, pauses } = app.clients
  let drained: Promise<void> | undefined
  const drainBy = (stopAll: () => Promise<void>): void => {
    app.decorate('drain', async () => { await (drained ??= within(config.shutdownTimeoutMs * leaveAt, stopAll())) })
    app.decorate('isDraining', () => drained !== undefined)
    app.addHook('onClose', async () => { await app.drain() })
    // Callers that keep their connection should find a replica that stays; who waited for the end must not hold it up.
    app.addHook('onSend', async (_request, reply) => { if (drained !== undefined) reply.header('connection', 'close') })
  }
  if (config.role === 'web') {
    await openQueues(store, targets.keys(), heartbeatSeconds)
    app.onReload(() => {}, async fresh => { await openQueues(store, Object.keys(fresh.rules.current().targets), heartbeatSeconds) })
    const upkeep = startUpkeep({ store, pauses, now, log, retentionMs: Infinity })
    drainBy(upkeep.stop)
    app.decorate('kick', () => {})
    return
  }
  const planner = startPlanner({
    ...config.purge,
    store,
    pauses,
    log,
    clients: purge,
    retryMs: config.retryMs,
    onAccepted (type, waitedSeconds) {
      for (const seconds of waitedSeconds) metrics.purgeWait.observe({ type }, seconds)
    },
    onDone (jobs) {
      for (const { kind, outcome, state, created_at: createdAt } of jobs) {
        metrics.jobs.inc({ kind, outcome: outcome ?? state })
        if (state === 'succeeded') metrics.eventToPurge.observe((now().getTime() - createdAt.getTime()) / 1000)
      }
    }
  })
  const probes = createProbes({ store, s3, targets, cpCodeOf: name => config.rules.current().targets[name]?.cpCodes[0] })
  const syncObject = createSyncObject({
    store,
    s3,
    targets,
    probes,
    pauses,
    now,
    log,
    limits: config.rules.current,
    purgeDelayMs: config.purge.delayMs,
    purgeRepeat: config.purge.repeatMs > 0,
    digest: config.digest,
    minRewriteMs: config.minRewriteMs,
    verifyTimeoutMs: config.verifyTimeoutMs,
    retryMs: config.retryMs,
    deleteLimitPerMinute: config.deleteLimitPerMinute,
    onDone ({ kind, outcome, count, bytes, owes, ms }) {
      metrics.uploadBytes.inc(bytes)
      metrics.stage.observe({ stage: 'copy' }, ms / 1000)
      if (['failed', 'held', 'ignored'].includes(outcome)) metrics.jobs.inc({ kind, outcome }, count)
      if (owes) planner.kick()
    }
  })
  const dispatcher = await startDispatcher({
    store,
    targets: [...targets.keys()],
    concurrency: config.concurrency,
    heartbeatSeconds,
    isPaused: target => pauses.reasons().has(`netstorage:${target}`),
    run: syncObject.run,
    log
  })
  const upkeep = startUpkeep({
    store,
    pauses,
    now,
    log,
    retentionMs: config.retentionDays * 86_400_000,
    probes: { ...probes },
    onTick: syncObject.stopCancelled,
    onResumed: dispatcher.kick
  })
  let begin = (): void => {}
  app.onReload(() => { begin() }, async fresh => { begin = await dispatcher.open(Object.keys(fresh.rules.current().targets)) })
  app.decorate('kick', only => {
    dispatcher.kick()
    if (only === undefined) planner.kick()
  })
  drainBy(async () => {
    await Promise.all([upkeep.stop(), dispatcher.stop(config.shutdownTimeoutMs * abortAt)])
    await planner.stop()
  })
}, { name: 'work', dependencies: ['clients'] })

/** Waits no longer than `ms` for an end; what then still hangs is repeated after the next start. */
async function within (ms: number, end: Promise<void>): Promise<void> {
  let late: NodeJS.Timeout | undefined
  await Promise.race([end, new Promise<void>(resolve => { late = setTimeout(resolve, Math.max(ms, 1000)) })])
  clearTimeout(late)
}
