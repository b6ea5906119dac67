import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { JobParamsSchema, problem } from '../src/schemas.ts'
import { refusals } from './responses.ts'

const headers = Type.Object({
  'last-event-id': Type.Optional(Type.String({ description: '`id` of the last event that was seen; what came after it follows', examples: ['42'] }))
})
const stream = (description: string) => ({ description, content: { 'text/event-stream': { schema: Type.String() } } })
const description = 'Events are named by the state of the job, or `progress` (at most 2 a second), and their data is the job. `id` counts up. A comment comes every 15 seconds. A reader that is too slow misses what was between, never the last.'

/** A number we gave, or nothing: others start from the present. */
function readLastEventId (text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined
}

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/jobs/:id/events', {
    config: { scope: 'read' },
    schema: {
      operationId: 'followJob',
      summary: 'Follow one job to its end',
      description,
      tags: ['jobs'],
      headers,
      params: JobParamsSchema,
      response: {
        ...refusals,
        200: stream('Server-sent events, the present state first; the stream ends with the job.'),
        204: Type.Unsafe<undefined>(Type.Null({ description: 'The job has ended, and the last event was seen: there is nothing to come back for.' })),
        404: problem('job_not_found')
      }
    }
  }, async (request, reply) => {
    const after = readLastEventId(request.headers['last-event-id'])
    const isFollowed = await app.jobs.follow(request.params.id, request.caller, after, () => app.openStream(request, reply))
    return isFollowed ? await reply : await reply.code(204).send(undefined)
  })

  app.get('/events/stream', {
    config: { scope: 'read' },
    schema: {
      operationId: 'followJobs',
      summary: 'Follow all jobs',
      description: `${description} Jobs under way come first.`,
      tags: ['jobs'],
      headers,
      response: { ...refusals, 200: stream('Server-sent events without end.') }
    }
  }, async (request, reply) => {
    await app.jobs.followAll(request.caller, readLastEventId(request.headers['last-event-id']), () => app.openStream(request, reply))
    return await reply
  })
}

export default routes
