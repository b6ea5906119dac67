import Fastify, { LogController, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { Config } from './config.ts'
import accessLog from './plugins/access-log.ts'
import auth from './plugins/auth.ts'
import bodies from './plugins/bodies.ts'
import clients from './plugins/clients.ts'
import connections from './plugins/connections.ts'
import events from './plugins/events.ts'
import jobs from './plugins/jobs.ts'
import openapi from './plugins/openapi.ts'
import problem from './plugins/problem.ts'
import reload from './plugins/reload.ts'
import streams from './plugins/streams.ts'
import { transport } from './plugins/transport.ts'
import work from './plugins/work.ts'
import type { FetchCertificate } from './sns/certificates/cache.ts'
import actingRoutes from '../routes/acting.ts'
import eventsRoutes from '../routes/events.ts'
import healthRoutes from '../routes/health.ts'
import jobsRoutes from '../routes/jobs.ts'
import objectsRoutes from '../routes/objects.ts'
import openapiRoutes from '../routes/openapi.ts'
import purgeRoutes from '../routes/purge.ts'
import purgesRoutes from '../routes/purges.ts'
import snsRoutes from '../routes/sns.ts'
import streamsRoutes from '../routes/streams.ts'
import syncRoutes from '../routes/sync.ts'
import uploadRoutes from '../routes/upload.ts'

/** What tests put in place of the world. */
export interface AppOptions {
  /** The clock of jobs and purges. */
  now?: () => Date
  /** After which a silent worker loses its lanes (15). */
  heartbeatSeconds?: number
  /** Gets the file at a URL where SNS keeps its certificates. */
  fetchCertificate?: FetchCertificate
  /** Reaches SNS to confirm subscriptions. */
  confirmFetch?: typeof fetch
  logger?: FastifyServerOptions['logger']
}

/** The whole house on one page: plugins, then routes. It listens to nothing yet. */
export async function buildApp (config: Config, { now = () => new Date(), heartbeatSeconds, fetchCertificate, confirmFetch, logger }: AppOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({
    ...transport,
    forceCloseConnections: 'idle',
    // The store closes last, so whoever still reaches us at the end is answered like anybody else.
    return503OnClosing: false,
    // A first start on a slow disk, or behind another replica's migration, takes as long as it takes.
    pluginTimeout: 0,
    logController: new LogController({ disableRequestLogging: true }),
    logger: logger ?? {
      level: config.logLevel,
      redact: ['req.headers.authorization'],
      // An error is logged by its name and words only: foreign errors carry requests, and requests carry secrets.
      serializers: { err: (error: Error & { code?: string }) => ({ type: error.name, message: error.message, stack: error.stack ?? '', ...(error.code === undefined ? {} : { code: error.code }) }) }
    }
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.addHook('onRequest', async (request, reply) => { reply.header('x-request-id', request.id) })

  await app.register(problem)
  await app.register(bodies)
  await app.register(connections)
  await app.register(openapi, { hasPages: config.role !== 'worker' })
  await app.register(reload, { now })
  await app.register(auth, { config, now })
  await app.register(clients, { config, now })
  await app.register(accessLog)
  await app.register(work, { config, now, heartbeatSeconds })
  await app.register(jobs, { config, now })
  await app.register(streams)
  await app.register(events, { config, now, fetchCertificate, confirmFetch })

  await app.register(healthRoutes)
  if (config.role !== 'worker') {
    await app.register(openapiRoutes)
    await app.register(syncRoutes)
    await app.register(uploadRoutes)
    await app.register(purgeRoutes)
    await app.register(purgesRoutes)
    await app.register(jobsRoutes)
    await app.register(actingRoutes)
    await app.register(objectsRoutes)
    await app.register(streamsRoutes)
    await app.register(eventsRoutes)
    await app.register(snsRoutes, { basicAuth: config.sns.basicAuth })
  }
  for (const warning of config.warnings) app.log.warn(warning)
  return app
}
