import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { SyncBodySchema, ref } from '../src/schemas.ts'
import { answerJob, callOf, startHeaders } from './answer.ts'
import { startResponses } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.post('/sync', {
    config: { scope: 'sync' },
    schema: {
      operationId: 'syncObject',
      summary: 'Make NetStorage equal to S3 for one object, then purge it',
      description: 'Uploads, verifies and purges. Bytes that are there already are not uploaded again unless `force`.',
      tags: ['jobs'],
      headers: startHeaders,
      body: ref(SyncBodySchema, 'what to sync'),
      response: startResponses
    }
  }, async (request, reply) => await answerJob(request, reply, await app.jobs.sync(request.body, callOf(request)), 202))
}

export default routes
