import type { FastifyInstance } from 'fastify'

/**
 * Lets every body reach the routes of this plugin as bytes, whatever its Content-Type says, be it missing or malformed:
 * SNS posts JSON as text/plain, its delivery policy can say anything, and what Fastify answered 415 would be lost.
 */
export function takeRawBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
  app.addHook('onRequest', async request => { request.raw.headers['content-type'] = 'application/octet-stream' })
}
