import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyServerOptions } from 'fastify'
import { AppError, toProblem } from '../errors.ts'
import { sendProblem } from './problem.ts'

const faults: Record<string, ConstructorParameters<typeof AppError>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'The request headers are larger than 16 KiB.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'The request did not arrive in time.']
}

/** How the server treats what is not yet a request, and what is hardly one: in our words like all else. */
export const transport = {
  bodyLimit: 1024 * 1024,
  // Longer than any id: what is no id shall be told so, not that the path is unknown.
  routerOptions: { maxParamLength: 4096 },
  requestTimeout: 60_000,
  // A caller's own id goes into headers and logs, so only what is harmless there is taken over.
  genReqId: request => {
    const given = request.headers['x-request-id']
    return typeof given === 'string' && /^[\w.:@=+/-]{1,128}$/.test(given) ? given : randomUUID()
  },
  clientErrorHandler (error, socket) {
    if (error.code === 'ECONNRESET' || !socket.writable) return
    const problem = toProblem(new AppError(...faults[error.code ?? ''] ?? ['invalid_request', 'This is not a valid HTTP request.']))
    const body = JSON.stringify(problem)
    socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`)
  },
  frameworkErrors (error, request, reply) {
    const code = error.code === 'FST_ERR_BAD_URL' ? 'invalid_request' as const : 'not_found' as const
    sendProblem((reply as FastifyReply).header('x-request-id', request.id), toProblem(new AppError(code, code === 'not_found' ? 'There is nothing at so long a path.' : 'The path is not a valid URL path.')))
  }
} satisfies FastifyServerOptions
