import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UploadBodySchema, ref } from '../src/schemas.ts'
import { answerJob, callOf, startHeaders } from './answer.ts'
import { startResponses } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.post('/upload', {
    config: { scope: 'upload' },
    schema: {
      operationId: 'uploadObject',
      summary: 'Copy one object without purging it now',
      description: 'The purge stays owed and is paid by the next sync or purge of the object.',
      tags: ['jobs'],
      headers: startHeaders,
      body: ref(UploadBodySchema, 'what to upload'),
      response: startResponses
    }
  }, async (request, reply) => await answerJob(request, reply, await app.jobs.upload(request.body, callOf(request)), 202))
}

export default routes
