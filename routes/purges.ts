import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { JobParamsSchema, plain, PurgeSchema, purgeActions, purgeNetworks, purgeTypes, ref } from '../src/schemas.ts'
import { filterMembers, toFilter } from './job-filter.ts'
import { next, pageMembers, readPage } from './page.ts'
import { refusals } from './responses.ts'

const one = <const T extends readonly string[]>(values: T, description: string) => Type.Optional(Type.Unsafe<T[number]>(Type.String({ enum: [...values], description })))
const { bucket, key, label, since, until } = filterMembers

const QuerySchema = Type.Object({
  network: one(purgeNetworks, 'where'),
  action: one(purgeActions, 'how'),
  type: one(purgeTypes, 'of what'),
  object: Type.Optional(Type.String({ minLength: 1, maxLength: 8192, ...plain, description: 'of this URL, ARL, CP code or tag, as it was sent' })),
  job: Type.Optional(Type.Unsafe<string>({ ...JobParamsSchema.properties.id, description: 'sent for this job' })),
  bucket,
  key,
  label,
  since,
  until,
  ...pageMembers
}, { additionalProperties: false })

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/purges', {
    config: { scope: 'read' },
    schema: {
      operationId: 'listPurges',
      summary: 'List the requests that Fast Purge accepted, newest first',
      description: '`bucket`, `key` and `label` are those of a job that waited for the request; `since` and `until` bound its acceptance. A token that is limited to buckets has to name one of its jobs, and sees what that job wanted.',
      tags: ['purges'],
      querystring: QuerySchema,
      response: {
        ...refusals,
        200: Type.Object({ items: Type.Array(ref(PurgeSchema, 'an accepted request')), next }, { description: 'One page of requests.' })
      }
    }
  }, async request => {
    const { limit, after, job, network, action, type, object, ...rest } = request.query
    const own = Object.fromEntries(Object.entries({ network, action, type, object, jobId: job?.toLowerCase() }).filter(([, value]) => value !== undefined))
    return await readPage({ limit, ...(after === undefined ? {} : { after }) }, async range => await app.jobs.purges({ ...toFilter(rest), ...own, ...range }, request.caller))
  })
}

export default routes
