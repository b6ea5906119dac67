import Type from 'typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ObjectSchema, plain, ref } from '../src/schemas.ts'
import { refusals } from './responses.ts'

const routes: FastifyPluginAsyncTypebox = async app => {
  app.get('/objects', {
    config: { scope: 'read' },
    schema: {
      operationId: 'getObjects',
      summary: 'Where is my file? What NetStorage holds of an object, and what purges are owed',
      tags: ['objects'],
      querystring: Type.Object({ bucket: Type.String({ minLength: 1, maxLength: 255, ...plain }), key: Type.String({ minLength: 1, maxLength: 1024, ...plain }) }, { additionalProperties: false }),
      response: {
        ...refusals,
        200: Type.Object({ items: Type.Array(ref(ObjectSchema, 'one target path')) }, { description: 'One entry per target path; none if this service never copied it.' })
      }
    }
  }, async request => {
    const found = await app.jobs.object(request.query.bucket, request.query.key, request.caller)
    return {
      items: found.map(({ object, owed }) => ({
        bucket: object.bucket,
        key: object.key,
        target: object.target,
        cpCode: object.cp_code,
        path: object.path,
        present: object.present,
        ...(object.etag === null ? {} : { etag: object.etag }),
        ...(object.version_id === null ? {} : { versionId: object.version_id }),
        ...(object.size_bytes === null ? {} : { sizeBytes: object.size_bytes }),
        ...(object.md5 === null ? {} : { md5: object.md5 }),
        mtime: new Date(object.mtime * 1000).toISOString(),
        committedAt: object.committed_at.toISOString(),
        jobId: object.job_id,
        owed: owed.map(debt => ({
          object: debt.object,
          type: debt.type,
          network: debt.network,
          action: debt.action,
          ...(debt.due_at === null ? {} : { dueAt: debt.due_at.toISOString() }),
          repeat: debt.repeat
        }))
      }))
    }
  })
}

export default routes
