import type { SwaggerTransform, SwaggerTransformObject } from '@fastify/swagger'

interface Header { description: string, required: boolean, schema: object }
interface Operation { parameters?: Array<{ name?: string }>, responses?: Record<string, { headers?: Record<string, object> }> }

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the document says of a body that the route reads by itself. */
    documentedBody?: object
  }
}

/** Which scopes open an operation, from the same setting that is enforced, and what body it takes. */
export const describeRoute: SwaggerTransform = ({ schema, url, route }) => {
  const { scope, documentedBody } = route.config ?? {}
  const body = documentedBody === undefined ? {} : { body: documentedBody }
  if (scope === undefined) return { schema: { ...schema, ...body }, url }
  const security = [scope].flat().flatMap((each): Array<Record<string, string[]>> => [{ bearer: [each] }, { basic: [each] }])
  return { schema: { ...schema, ...body, security }, url }
}

const text = (description: string, required = true): Header => ({ description, required, schema: { type: 'string' } })

/** The headers that answers have, by the names under which the document refers to them. */
export const headers: Record<string, Header> = {
  'x-request-id': text('the id of the request, as in the log; the caller\'s own if it sent a plain one'),
  'www-authenticate': text('how to show a token'),
  'retry-after': { description: 'seconds to wait', required: true, schema: { type: 'integer', minimum: 1 } },
  location: text('where the job is', false),
  'preference-applied': text('the preference that was honoured', false)
}

/** Which headers an answer has. */
function headersOf (status: string, waits: boolean): string[] {
  // What breaks before it is a request has no id.
  if (status === '408' || status === '431') return []
  return ['x-request-id', ...(status === '401' ? ['www-authenticate'] : []), ...(status === '429' ? ['retry-after'] : []), ...(waits ? ['location', 'preference-applied'] : [])]
}

/** Adds the headers of every response, which route schemas have no place for. */
export const describeHeaders: SwaggerTransformObject = document => {
  if (!('openapiObject' in document)) return document.swaggerObject
  const { openapiObject } = document
  for (const path of Object.values(openapiObject.paths ?? {})) {
    for (const operation of Object.values(path ?? {}) as Operation[]) {
      const waits = operation.parameters?.some(each => each.name === 'prefer') === true
      for (const [status, response] of Object.entries(operation.responses ?? {})) {
        response.headers = { ...Object.fromEntries(headersOf(status, waits).map(name => [name, { $ref: `#/components/headers/${name}` }])), ...response.headers }
      }
    }
  }
  return openapiObject
}
