import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { retryExamples } from '../src/examples.ts'
import { jobKinds, JobParamsSchema, JobSchema, problem, ref } from '../src/schemas.ts'
import { filterMembers, oneOrMore, toFilter } from './job-filter.ts'
import { bodyRefusals, refusals } from './responses.ts'

const FilterSchema = Type.Object({
  ...filterMembers,
  state: oneOrMore(['failed', 'cancelled', 'held'], '`failed` unless given; what is held is released'),
  kind: oneOrMore(jobKinds, 'what was asked for')
}, { additionalProperties: false, description: 'which jobs; an empty one means all that failed' })

const BulkSchema = Type.Object({
  filter: FilterSchema,
  dryRun: Type.Optional(Type.Boolean({ description: 'only count them' }))
}, { additionalProperties: false, examples: retryExamples })

const acts = {
  retry: { summary: 'Try a failed or cancelled job again', description: 'It keeps its id. What it copied already is not copied again; what is still owed to the edge is asked for again.', accepted: 'It is queued again.', conflict: 'it neither failed nor was cancelled, or nothing can be tried again' },
  cancel: { summary: 'Cancel a job', description: 'What waits ends at once, a running upload is stopped; others that merged with it go on. What an earlier upload owes to the edge stays owed.', accepted: 'It is cancelled, or about to be.', conflict: 'its upload is done, or it has ended' },
  release: { summary: 'Let a held job go on', description: 'The operator decides that what it was held for is right: a delete beyond the limit, or of an object that this service did not put there.', accepted: 'It is queued again.', conflict: 'it is not held' }
} as const

/** What operators do to jobs. */
const routes: FastifyPluginAsyncTypebox = async app => {
  for (const act of ['retry', 'cancel', 'release'] as const) {
    const { summary, description, accepted, conflict } = acts[act]
    app.post(`/jobs/:id/${act}`, {
      config: { scope: act === 'release' ? 'admin' : ['admin', 'sync', 'upload', 'purge'] },
      schema: {
        operationId: `${act}Job`,
        summary,
        description: act === 'release' ? description : `${description} Needs the scope \`admin\`, or that of the job's kind.`,
        tags: ['jobs'],
        params: JobParamsSchema,
        response: { ...refusals, 202: ref(JobSchema, accepted), 404: problem('job_not_found'), 409: problem(`wrong_state: ${conflict}`) }
      }
    }, async (request, reply) => {
      const job = await app.jobs[act](request.params.id, request.caller)
      return await reply.code(202).header('location', job.links.self).send(job)
    })
  }

  app.post('/jobs/retry', {
    config: { scope: 'admin' },
    schema: {
      operationId: 'retryJobs',
      summary: 'Try all failed jobs again that match, or release all that are held',
      tags: ['jobs'],
      body: BulkSchema,
      response: { ...bodyRefusals, 200: Type.Object({ count: Type.Integer({ description: 'how many jobs' }) }, { description: 'They are queued again; with `dryRun` they would be.' }) }
    }
  }, async request => {
    const { filter, dryRun = false } = request.body
    const count = await app.jobs.retryAll(toFilter(filter), dryRun, request.caller)
    return { count }
  })
}

export default routes
