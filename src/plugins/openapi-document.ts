import type { SwaggerTransform, SwaggerTransformObject } from '@fastify/swagger'

interface Header { description: string, required: boolean, schema: object }
interface Operation { parameters?: Array<{ name?: string }>, responses?: Record<string, { headers?: Record<string, Header> }> }

/** Which scopes open an operation, from the same setting that is enforced. */
export const describeTokens: SwaggerTransform = ({ schema, url, route }) => {
  const { scope } = route.config ?? {}
  if (scope === undefined) return { schema, url }
  const security = [scope].flat().flatMap((each): Array<Record<string, string[]>> => [{ bearer: [each] }, { basic: [each] }])
  return { schema: { ...schema, security }, url }
}

const text = (description: string, required = true): Header => ({ description, required, schema: { type: 'string' } })
const requestId = text('the id of the request, as in the log; the caller\'s own if it sent one')
const challenge = text('how to show a token')
const retryAfter: Header = { description: 'seconds to wait', required: true, schema: { type: 'integer', minimum: 1 } }
const location = text('where the job is', false)
const applied = text('the preference that was honoured', false)

/** Adds the headers of every response, which route schemas have no place for. */
export const describeHeaders: SwaggerTransformObject = document => {
  if (!('openapiObject' in document)) return document.swaggerObject
  const { openapiObject } = document
  for (const path of Object.values(openapiObject.paths ?? {})) {
    for (const operation of Object.values(path ?? {}) as Operation[]) {
      const waits = operation.parameters?.some(each => each.name === 'prefer') === true
      for (const [status, response] of Object.entries(operation.responses ?? {})) {
        // What breaks before it is a request has no id.
        const isRequest = status !== '408' && status !== '431'
        response.headers = {
          ...(isRequest ? { 'x-request-id': requestId } : {}),
          ...(status === '401' ? { 'www-authenticate': challenge } : {}),
          ...(status === '429' ? { 'retry-after': retryAfter } : {}),
          ...(waits && isRequest ? { location, 'preference-applied': applied } : {}),
          ...response.headers
        }
      }
    }
  }
  return openapiObject
}
