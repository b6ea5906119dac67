import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import fp from 'fastify-plugin'
import { JobSchema, ObjectSchema, ProblemSchema, PurgeBodySchema, PurgeSchema, SyncBodySchema, UploadBodySchema } from '../schemas.ts'
import { describeHeaders, describeRoute, headers } from './openapi-document.ts'

/** The schemas are the source: they validate and make `openapi.yaml` and, where there are pages, `/docs`. */
export default fp<{ hasPages: boolean }>(async (app, { hasPages }) => {
  const options = { allErrors: true, useDefaults: true, strict: false }
  const strict = addFormats.default(new Ajv2020(options))
  const coercing = addFormats.default(new Ajv2020({ ...options, coerceTypes: 'array' }))
  for (const schema of [ProblemSchema, JobSchema, ObjectSchema, PurgeSchema, SyncBodySchema, UploadBodySchema, PurgeBodySchema]) {
    app.addSchema(schema)
    strict.addSchema(schema)
    coercing.addSchema(schema)
  }
  // Bodies are taken literally; a query string has only strings to offer.
  app.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'body' ? strict : coercing).compile(schema))
  // Compiling one serializer per response would cost half a second of each start; the tests hold every answer to its schema.
  app.setSerializerCompiler(() => answer => JSON.stringify(answer))

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Edgeferry',
        version: '0.1.0',
        description: 'Keeps Akamai NetStorage equal to Amazon S3 and the edge fresh. Clients must bear states, outcomes and members they do not know.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      servers: [{ url: '/' }],
      tags: [{ name: 'jobs', description: 'start work and follow it' }, { name: 'objects', description: 'what is known of an object' }, { name: 'purges', description: 'what was sent to Fast Purge' }, { name: 'events', description: 'how S3 tells of changes' }, { name: 'service', description: 'health, metrics and this document' }],
      components: {
        headers,
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'The secret of an API token. An operation names the scopes of which the token must hold one.' },
          basic: { type: 'http', scheme: 'basic', description: 'The same secret as the password; the user name is ignored.' }
        }
      }
    },
    transform: describeRoute,
    transformObject: describeHeaders,
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `def-${index}`) }
  })
  if (hasPages) await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
}, { name: 'openapi' })
