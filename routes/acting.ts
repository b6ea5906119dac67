import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { jobKinds, JobSchema, problem, ref } from '../src/schemas.ts'
import { bodyRefusals, refusals } from './responses.ts'

const params = Type.Object({ id: Type.String({ format: 'uuid' }) })
const text = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description }))
const some = <const T extends readonly string[]>(values: T, description: string) =>
  Type.Optional(Type.Array(Type.Unsafe<T[number]>(Type.String({ enum: [...values] })), { minItems: 1, maxItems: 16, description }))

const FilterSchema = Type.Object({
  state: some(['failed', 'cancelled', 'held'], '`failed` unless given; what is held is released'),
  kind: some(jobKinds, 'only these'),
  bucket: text('only of this bucket'),
  key: text('only of this key'),
  prefix: text('only of keys that begin with it'),
  label: text('only with this label'),
  since: Type.Optional(Type.String({ format: 'date-time', description: 'created then or later' })),
  until: Type.Optional(Type.String({ format: 'date-time', description: 'created before' }))
}, { additionalProperties: false, description: 'which jobs; an empty one means all that failed' })

const BulkSchema = Type.Object({
  filter: FilterSchema,
  dryRun: Type.Optional(Type.Boolean({ description: 'only count them' }))
}, { additionalProperties: false })

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
        params,
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
    const { filter: { state, kind, since, until, ...filter }, dryRun = false } = request.body
    const count = await app.jobs.retryAll({
      ...filter,
      ...(state === undefined ? {} : { states: state }),
      ...(kind === undefined ? {} : { kinds: kind }),
      ...(since === undefined ? {} : { since: new Date(since) }),
      ...(until === undefined ? {} : { until: new Date(until) })
    }, dryRun, request.caller)
    return { count }
  })
}

export default routes
