import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { always } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/openapi.yaml', {
    schema: {
      operationId: 'getOpenapi',
      summary: 'This document',
      tags: ['service'],
      response: { ...always, 200: { description: 'OpenAPI 3.1.', content: { 'application/yaml': { schema: Type.String() } } } }
    }
  }, async (request, reply) => await reply.type('application/yaml').send(app.swagger({ yaml: true })))
}

export default routes
