import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AppError } from '../src/errors.ts'
import { JobParamsSchema, JobSchema, jobStates, ref } from '../src/schemas.ts'
import { answerJob, preferHeader } from './answer.ts'
import { filterMembers, oneOf, toFilter } from './job-filter.ts'
import { next, pageMembers, readPage } from './page.ts'
import { jobResponses, refusals } from './responses.ts'

const QuerySchema = Type.Object({
  state: oneOf(jobStates, 'may repeat'),
  ...filterMembers,
  ...pageMembers
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
          next
        }, { description: 'One page of jobs.' })
      }
    }
  }, async request => {
    const { limit, after, ...filter } = request.query
    return await readPage({ limit, ...(after === undefined ? {} : { after }) }, async range => await app.jobs.list({ ...toFilter(filter), ...range }, request.caller))
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
