import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { JobSchema, ObjectSchema, plain, ref } from '../src/schemas.ts'
import { refusals } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/objects', {
    config: { scope: 'read' },
    schema: {
      operationId: 'getObjects',
      summary: 'Where is my file?',
      description: 'What S3 held when it was last copied, what NetStorage holds, every purge, what is owed, and why it is not live yet: in plain words and in fields.',
      tags: ['objects'],
      querystring: Type.Object({
        bucket: Type.String({ minLength: 1, maxLength: 255, ...plain }),
        key: Type.String({ minLength: 1, maxLength: 1024, ...plain, description: 'literal; escape it for the query string only' })
      }, { additionalProperties: false }),
      response: {
        ...refusals,
        200: Type.Object({
          summary: Type.String({ description: 'all of it in plain words' }),
          items: Type.Array(ref(ObjectSchema, 'one target path')),
          jobs: Type.Array(ref(JobSchema, 'a job without its timeline'), { description: 'its newest jobs, newest first' })
        }, { description: 'One item per target path; none if this service never had to do with it.' })
      }
    }
  }, async request => await app.jobs.whereIs(request.query.bucket, request.query.key, request.caller))
}

export default routes
