import { isUtf8 } from 'node:buffer'
import fp from 'fastify-plugin'
import { AppError } from '../errors.ts'

/**
 * Bodies are JSON in UTF-8 and nothing else: what is not would be read with replacement characters, and name another
 * object than the caller meant. An act that needs no body may come with an empty one, whatever its type says.
 */
export default fp(async app => {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (body.length === 0 && request.routeOptions.schema?.body === undefined) done(null, undefined)
    else if (!isUtf8(body)) done(new AppError('invalid_request', 'The body is not valid UTF-8.'), undefined)
    else parse(request, body.toString('utf8'), done)
  })
}, { name: 'bodies' })
