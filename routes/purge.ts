import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { PurgeBodySchema, ref } from '../src/schemas.ts'
import { answerJob, callOf, startHeaders } from './answer.ts'
import { startResponses } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.post('/purge', {
    config: { scope: ['purge', 'purge-wide'] },
    schema: {
      operationId: 'purgeObjects',
      summary: 'Purge an object, URLs, CP codes or tags',
      description: 'Exactly one of: `bucket` and `key`; `urls`; `cpCodes`; `tags`.',
      tags: ['jobs'],
      headers: startHeaders,
      body: ref(PurgeBodySchema, 'what to purge'),
      response: startResponses
    }
  }, async (request, reply) => await answerJob(request, reply, await app.jobs.purge(request.body, callOf(request)), 202))
}

export default routes
