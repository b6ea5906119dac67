import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AppError } from '../src/errors.ts'
import { JobParamsSchema, JobSchema, jobStates, ref } from '../src/schemas.ts'
import { answerJob, preferHeader } from './answer.ts'
import { filterMembers, oneOf, toFilter } from './job-filter.ts'
import { jobResponses, refusals } from './responses.ts'

const QuerySchema = Type.Object({
  state: oneOf(jobStates, 'may repeat'),
  ...filterMembers,
  limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
  after: Type.Optional(Type.String({ description: '`next` of the page before' }))
}, { additionalProperties: false })

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/jobs', {
    config: { scope: 'read' },
    schema: {
      operationId: 'listJobs',
      summary: 'List jobs, newest first',
      tags: ['jobs'],
      querystring: QuerySchema,
      response: {
        ...refusals,
        200: Type.Object({
          items: Type.Array(ref(JobSchema, 'a job without its timeline')),
          next: Type.Optional(Type.String({ description: 'cursor of the next page; absent on the last' }))
        }, { description: 'One page of jobs.' })
      }
    }
  }, async request => {
    const { limit, after, ...filter } = request.query
    const cursor = after === undefined ? undefined : Buffer.from(after, 'base64url').toString()
    if (cursor !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cursor)) throw new AppError('invalid_request', 'The cursor "after" is not one this service gave: use "next" of the page before.')
    const items = await app.jobs.list({ ...toFilter(filter), ...(cursor === undefined ? {} : { after: cursor }), limit: limit + 1 }, request.caller)
    const page = items.slice(0, limit)
    const last = page.at(-1)
    return { items: page, ...(items.length > limit && last !== undefined ? { next: Buffer.from(last.id).toString('base64url') } : {}) }
  })

  app.get('/jobs/:id', {
    config: { scope: 'read' },
    schema: {
      operationId: 'getJob',
      summary: 'One job with its timeline',
      tags: ['jobs'],
      headers: preferHeader,
      params: JobParamsSchema,
      response: jobResponses
    }
  }, async (request, reply) => {
    const job = await app.jobs.find(request.params.id, request.caller)
    if (job === undefined) throw new AppError('job_not_found', `There is no job ${request.params.id}; finished jobs are kept for a while only.`)
    return await answerJob(request, reply, job, 200)
  })
}

export default routes
