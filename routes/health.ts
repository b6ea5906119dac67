import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { always } from './responses.ts'

const text = (description: string, type: string) => ({ description, content: { [type]: { schema: Type.String() } } })
const CheckSchema = Type.Object({
  ready: Type.Boolean(),
  checks: Type.Optional(Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), detail: Type.Optional(Type.String()) }), { description: 'with ?verbose' }))
})

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/livez', {
    schema: { operationId: 'getLive', summary: 'The process runs', tags: ['service'], response: { ...always, 200: text('It does.', 'text/plain') } }
  }, async (request, reply) => await reply.type('text/plain').send('ok\n'))

  app.get('/readyz', {
    schema: {
      operationId: 'getReady',
      summary: 'Whether work can be accepted',
      description: 'With ?verbose each check and each paused target with its reason.',
      tags: ['service'],
      querystring: Type.Object({ verbose: Type.Optional(Type.String()) }),
      response: { ...always, 200: { ...CheckSchema, description: 'Ready.' }, 503: { ...CheckSchema, description: 'Not ready: no database, or stopping.' } }
    }
  }, async (request, reply) => {
    const { ready, checks } = await app.jobs.health()
    return await reply.code(ready ? 200 : 503).send({ ready, ...(request.query.verbose === undefined ? {} : { checks }) })
  })

  app.get('/metrics', {
    schema: { operationId: 'getMetrics', summary: 'Metrics for Prometheus', tags: ['service'], response: { ...always, 200: text('Prometheus text format.', 'text/plain') } }
  }, async (request, reply) => {
    await app.measureQueues().catch(() => {})
    return await reply.type(app.metrics.registry.contentType).send(await app.metrics.registry.metrics())
  })
}

export default routes
