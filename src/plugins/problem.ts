import fp from 'fastify-plugin'
import type { FastifyError, FastifyReply } from 'fastify'
import { AppError, toProblem, type Problem } from '../errors.ts'

/** Fastify's own refusals, in our words. */
const known: Record<string, [ConstructorParameters<typeof AppError>[0], string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'The body is larger than 1 MiB.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty, and JSON is needed.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_request', 'The body is not valid JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is shorter or longer than Content-Length says.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The path is not a valid URL path.']
}

/** Any error as one of ours. */
function translate (error: FastifyError | AppError): AppError {
  if (error instanceof AppError) return error
  if (error.validation !== undefined) {
    const where = error.validationContext ?? 'body'
    const errors = error.validation.map(each => {
      const extra = each.params['additionalProperty']
      const allowed = each.params['allowedValues']
      return {
        where: `${where}${each.instancePath}${extra === undefined ? '' : `/${String(extra)}`}`,
        message: extra !== undefined ? 'is not a known member' : Array.isArray(allowed) ? `must be one of ${allowed.join(', ')}` : each.message ?? 'is not valid'
      }
    })
    return new AppError('invalid_request', errors.map(each => `${each.where} ${each.message}`).join('; ') + '.', { errors })
  }
  const found = known[error.code] ?? (error instanceof SyntaxError && error.statusCode === 400 ? known['FST_ERR_CTP_INVALID_JSON_BODY'] : undefined)
  return found === undefined ? new AppError('internal_error', 'Something unexpected went wrong; the log has it under this request id.', { cause: error }) : new AppError(...found)
}

/** Sends problem details; members beyond RFC 9457 (the job that failed) go along. */
export function sendProblem (reply: FastifyReply, problem: Problem, members: object = {}): FastifyReply {
  return reply.code(problem.status).type('application/problem+json').send({ ...problem, instance: `urn:request:${reply.request.id}`, ...members })
}

/** Every error leaves as RFC 9457 problem details, the 404 included. */
export default fp(async app => {
  app.setErrorHandler<FastifyError | AppError>((error, request, reply) => {
    const ours = translate(error)
    if (ours.statusCode >= 500) request.log.error({ err: ours.cause ?? ours, code: ours.code }, ours.message)
    if (ours.code === 'unauthorized') reply.header('www-authenticate', 'Bearer realm="edgeferry"')
    return sendProblem(reply, toProblem(ours))
  })
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, toProblem(new AppError('not_found', `There is no ${request.method} ${request.url.split('?')[0]}. See /docs for what there is.`))))
}, { name: 'problem' })
