import fp from 'fastify-plugin'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, toProblem, type Problem } from '../errors.ts'
import { plain } from '../schemas.ts'

/** Fastify's own refusals, in our words. */
const known: Record<string, [ConstructorParameters<typeof AppError>[0], string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'The body is larger than this operation takes.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty, and JSON is needed.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_request', 'The body is not valid JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is shorter or longer than Content-Length says.']
}

/** Any error as one of ours. */
function translate (error: FastifyError | AppError, { raw }: FastifyRequest): AppError {
  if (error instanceof AppError) return error
  if (error.code === 'ECONNRESET' && raw.destroyed && !raw.complete) return new AppError('invalid_request', 'The connection ended before the body did.')
  if (error.validation !== undefined) {
    const errors = describeFaults(error.validation, error.validationContext ?? 'body')
    return new AppError('invalid_request', errors.map(each => `${each.where} ${each.message}`).join('; ') + '.', { errors })
  }
  const found = known[error.code] ?? (error instanceof SyntaxError && error.statusCode === 400 ? known['FST_ERR_CTP_INVALID_JSON_BODY'] : undefined)
  return found === undefined ? new AppError('internal_error', 'Something unexpected went wrong; the log has it under this request id.', { cause: error }) : new AppError(...found)
}

/** One entry per fault. Of a choice between forms, what each form lacks says less than the choice itself. */
function describeFaults (faults: NonNullable<FastifyError['validation']>, context: string): Array<{ where: string, message: string }> {
  const seen = new Set<string>()
  return faults.filter(({ schemaPath, keyword }) => !schemaPath.includes('/oneOf/') && keyword !== 'anyOf').map(({ keyword, instancePath, params, message }) => {
    const extra = params['additionalProperty']
    const allowed = params['allowedValues']
    return {
      where: `${context}${instancePath}${extra === undefined ? '' : `/${String(extra)}`}`,
      message: keyword === 'oneOf'
        ? 'must say what to purge in one way: bucket and key together, or urls, or cpCodes, or tags'
        : keyword === 'dependentRequired'
          ? `${String(params['property'])} goes with ${String(params['missingProperty'])} only`
          : params['pattern'] === plain.pattern
            ? 'holds U+0000 or half of a surrogate pair'
            : extra !== undefined ? 'is not a known member' : Array.isArray(allowed) ? `must be one of ${allowed.join(', ')}` : message ?? 'is not valid'
    }
  }).filter(({ where, message }) => !seen.has(where + message) && seen.add(where + message))
}

/** Sends problem details; members beyond RFC 9457 (the job that failed) go along. */
export function sendProblem (reply: FastifyReply, problem: Problem, members: object = {}): FastifyReply {
  return reply.code(problem.status).type('application/problem+json').send({ ...problem, instance: `urn:request:${reply.request.id}`, ...members })
}

/** Every error leaves as RFC 9457 problem details, the 404 and 405 included. */
export default fp(async app => {
  const paths = new Map<string, { pattern: RegExp, methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = paths.get(url) ?? { pattern: new RegExp(`^${url.replace(/[.]/g, '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*')}$`), methods: new Set() }
    for (const each of [method].flat()) known.methods.add(each)
    paths.set(url, known)
  })
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) => {
    const ours = translate(error, request)
    if (ours.statusCode >= 500) request.log.error({ err: ours.cause ?? ours, code: ours.code }, ours.message)
    if (ours.code === 'unauthorized' && !reply.hasHeader('www-authenticate')) reply.header('www-authenticate', 'Bearer realm="edgeferry", Basic realm="edgeferry", charset="UTF-8"')
    if (ours.statusCode === 429 && ours.retryAfterSeconds !== undefined) reply.header('retry-after', String(ours.retryAfterSeconds))
    return sendProblem(reply, toProblem(ours))
  })
  // Before anything else looks at the request: its body is nobody's, and an address written out, as /jobs/retry, is no job's.
  app.addHook('onRequest', async (request, reply) => {
    const path = request.url.split('?')[0] as string
    const own = paths.get(path)
    if (own?.methods.has(request.method) ?? !request.is404) return
    const known = own === undefined ? [...paths.values()].filter(({ pattern }) => pattern.test(path)) : [own]
    const allowed = [...new Set(known.flatMap(({ methods }) => [...methods]))].sort()
    if (allowed.length === 0) return sendProblem(reply, toProblem(new AppError('not_found', `There is no ${request.method} ${path}. See /docs for what there is.`)))
    return sendProblem(reply.header('allow', allowed.join(', ')), toProblem(new AppError('method_not_allowed', `${path} knows ${allowed.join(', ')} only.`)))
  })
}, { name: 'problem' })
