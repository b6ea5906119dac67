import fp from 'fastify-plugin'
import type { Config } from '../config.ts'
import { startDispatcher } from '../jobs/dispatcher.ts'
import { createProbes } from '../jobs/probes.ts'
import { startPlanner } from '../jobs/purge-planner.ts'
import { createSyncObject } from '../jobs/sync-object.ts'
import { startUpkeep } from '../jobs/upkeep.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Looks for work now instead of at the next poll. */
    kick: () => void
  }
}

/** What works in the background: the copies, the purges and the upkeep, started in this order and ended in reverse. */
export default fp<{ config: Config, now: () => Date }>(async (app, { config, now }) => {
  const { log, metrics } = app
  const { store, s3, targets, purge, pauses } = app.clients
  if (config.role === 'web') {
    const upkeep = startUpkeep({ store, pauses, now, log, retentionMs: Infinity })
    app.addHook('onClose', async () => { await upkeep.stop() })
    app.decorate('kick', () => {})
    return
  }
  const planner = startPlanner({
    store,
    pauses,
    now,
    log,
    clients: purge,
    repeatMs: config.purge.repeatMs,
    retryMs: config.retryMs,
    onDone (jobs) {
      for (const { kind, outcome, state, created_at: createdAt } of jobs) {
        metrics.jobs.inc({ kind, outcome: outcome ?? state })
        if (state === 'succeeded') metrics.eventToPurge.observe((now().getTime() - createdAt.getTime()) / 1000)
      }
    }
  })
  const probes = createProbes({ store, s3, targets, cpCodeOf: name => config.targets[name]?.cpCodes[0] })
  const syncObject = createSyncObject({
    store,
    s3,
    targets,
    probes,
    pauses,
    now,
    log,
    rules: () => config.rules,
    purgeDelayMs: config.purge.delayMs,
    purgeRepeat: config.purge.repeatMs > 0,
    verifyTimeoutMs: config.verifyTimeoutMs,
    retryMs: config.retryMs,
    deleteLimitPerMinute: config.deleteLimitPerMinute,
    onDone ({ kind, outcome, count, bytes, ms }) {
      metrics.uploadBytes.inc(bytes)
      metrics.stage.observe({ stage: 'copy' }, ms / 1000)
      if (['failed', 'held', 'ignored'].includes(outcome)) metrics.jobs.inc({ kind, outcome }, count)
      planner.kick()
    }
  })
  const dispatcher = await startDispatcher({
    store,
    targets: [...targets.keys()],
    concurrency: config.concurrency,
    isPaused: target => pauses.reasons().has(`netstorage:${target}`),
    run: syncObject,
    log
  })
  const upkeep = startUpkeep({
    store,
    pauses,
    now,
    log,
    retentionMs: config.retentionDays * 86_400_000,
    probes: { ...probes, edgegrid: async name => await planner.probe(name) ? 'fine' : 'refused' },
    onResumed () {
      dispatcher.kick()
      planner.kick()
    }
  })
  app.decorate('kick', () => {
    dispatcher.kick()
    planner.kick()
  })
  app.addHook('onClose', async () => {
    await upkeep.stop()
    await dispatcher.stop(config.shutdownTimeoutMs)
    await planner.stop()
  })
}, { name: 'work', dependencies: ['clients'] })
