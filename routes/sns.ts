import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { AppError } from '../src/errors.ts'
import { problem } from '../src/schemas.ts'
import { always } from './responses.ts'
import { takeRawBodies } from './raw-body.ts'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Only shown: messages are read with care by our own reader. */
const MessageSchema = Type.Object({}, { additionalProperties: true, description: 'a message of Amazon SNS' })

/** The HTTP(S) endpoint that an SNS topic is subscribed with. */
const routes: FastifyPluginAsyncTypebox<{ basicAuth: string | undefined }> = async (app, { basicAuth }) => {
  const wanted = basicAuth === undefined ? undefined : digest(basicAuth)
  takeRawBodies(app)
  // SNS sends its credentials only when it is asked for them by a realm, and the first attempt always comes without.
  app.addHook('onRequest', async (request, reply) => {
    if (wanted === undefined) return
    const given = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given !== undefined && timingSafeEqual(digest(Buffer.from(given, 'base64').toString()), wanted)) return
    reply.header('www-authenticate', 'Basic realm="sns"')
    throw new AppError('unauthorized', 'Give the endpoint of the subscription as https://user:secret@host/sns, with the user and secret of SNS_BASIC_AUTH.')
  })
  // A path with a slash at its end would be answered 404, which SNS takes for final.
  for (const url of ['/sns', '/sns/']) {
    app.post(url, {
      config: { documentedBody: MessageSchema },
      schema: {
        operationId: 'receiveMessage',
        hide: url.endsWith('/'),
        summary: 'Receive a message of Amazon SNS',
        description: 'The endpoint for an HTTP(S) subscription of one of SNS_TOPIC_ARNS. Messages are verified by their signature, subscriptions confirmed, and S3 events stored as jobs before the answer.',
        tags: ['events'],
        response: {
          200: { description: 'Taken, or nothing to do: SNS need not come again.', content: { 'text/plain': { schema: Type.String() } } },
          ...always,
          400: problem('sns_malformed: final'),
          401: problem('unauthorized: SNS_BASIC_AUTH is set and was not presented'),
          403: problem('sns_refused: final'),
          413: problem('payload_too_large: final'),
          500: problem('internal_error: SNS tries again'),
          503: problem('sns_unverifiable, store_unavailable: SNS tries again')
        }
      }
    }, async (request, reply) => {
      await app.events.receiveMessage(request.body instanceof Uint8Array ? request.body : Buffer.alloc(0), request.headers)
      return await reply.type('text/plain').send('')
    })
  }
}

export default routes
