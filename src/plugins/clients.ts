import fp from 'fastify-plugin'
import { createBudgets } from '../budgets/budgets.ts'
import type { Config } from '../config.ts'
import { createPauses, type Pauses } from '../jobs/pauses.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import type { NetStorageClient } from '../netstorage/client.ts'
import type { PurgeClient } from '../purge/client.ts'
import { createS3Client } from '../s3/client.ts'
import { createS3Objects, type S3Objects } from '../s3/objects.ts'
import { embedded } from '../store/embedded.ts'
import { postgres } from '../store/postgres.ts'
import type { Store } from '../store/store.ts'
import { createAccounts } from './accounts.ts'

/** The other sides, each made once: the database, S3, NetStorage and Fast Purge, and which of them are paused. */
export interface Clients {
  store: Store
  s3: S3Objects
  /** By the name of the upload account. */
  targets: ReadonlyMap<string, NetStorageClient>
  /** By the name of the EdgeGrid credentials. */
  purge: ReadonlyMap<string, PurgeClient>
  pauses: Pauses
}

declare module 'fastify' {
  interface FastifyInstance {
    clients: Clients
    metrics: Metrics
  }
}

/** Opens every connection, counts every request, and closes all of it last. Accounts and rules change together. */
export default fp<{ config: Config, now: () => Date }>(async (app, { config, now }) => {
  const { log } = app
  const metrics = createMetrics()
  const store = config.databaseUrl === undefined
    ? await embedded({ dir: config.dataDir, log, onDeath: error => { log.fatal({ err: error }, 'the embedded database died'); process.exit(70) } })
    : await postgres({ url: config.databaseUrl, log })
  app.addHook('onClose', async () => { await store.close() })

  const count = (upstream: string) => ({ action, status }: { action: string, status: number | string }) => { metrics.upstream.inc({ upstream, action, status: String(status) }) }
  const s3Client = createS3Client({ region: config.s3.region, ...(config.s3.endpoint === undefined ? {} : { endpoint: config.s3.endpoint }) })
  const budgets = createBudgets({
    store,
    ceilings: config.budgets,
    onCeiling: ({ host, kind, perSecond }) => { metrics.rateCeiling.set({ host, kind }, perSecond) },
    onTurn ({ host, kind, perSecond, waitedMs }) {
      metrics.rate.set({ host, kind }, perSecond)
      metrics.turnWait.observe({ kind }, waitedMs / 1000)
    }
  })
  const accounts = createAccounts(config.rules.current(), { budgets, stallTimeoutMs: config.stallTimeoutMs, count, log })
  app.addHook('onClose', async () => {
    accounts.close()
    s3Client.destroy()
  })

  const pauses = createPauses(store, now, (name, reason) => {
    metrics.paused.set({ target: name }, reason === undefined ? 0 : 1)
    if (reason === undefined) log.info({ target: name }, `resumed ${name}`)
    else log.error({ target: name }, `paused ${name}: ${reason}`)
  })
  await pauses.refresh()
  app.onReload(fresh => {
    const next = fresh.rules.current()
    accounts.adopt(next)
    config.rules.replace(next)
  })

  app.decorate('metrics', metrics)
  app.decorate('clients', {
    store,
    s3: createS3Objects({ client: s3Client, stallTimeoutMs: config.stallTimeoutMs, onRequest: count('s3') }),
    targets: accounts.targets,
    purge: accounts.purge,
    pauses
  })
}, { name: 'clients', dependencies: ['reload'] })
