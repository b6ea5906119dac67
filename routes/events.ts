import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { setTimeout as sleep } from 'node:timers/promises'
import Type from 'typebox'
import { eventsExamples } from '../src/examples.ts'
import { problem } from '../src/schemas.ts'
import { always } from './responses.ts'
import { takeRawBodies } from './raw-body.ts'

const ReceiptSchema = Type.Object({
  verdicts: Type.Record(Type.String(), Type.Integer(), { description: 'how many events were stored, revived, duplicate, stale, ignored or rejected' }),
  jobIds: Type.Array(Type.String(), { description: 'the jobs that answer for them' })
})

/** Only shown: senders differ too much to be refused for a member. */
const EventsSchema = Type.Object({}, { additionalProperties: true, description: 'native records, or one event of EventBridge', examples: eventsExamples })

/** How long a refusal is held back. */
const refusalMs = 1000

/** S3 events that come without SNS: posted by MinIO, Ceph, EventBridge, or by hand. */
const routes: FastifyPluginAsyncTypebox = async app => {
  takeRawBodies(app)
  // Ceph's gateway repeats what was refused at once, thousands of times a second, and an answer that comes too fast can stop
  // its queue for good. It is the sender that names no User-Agent.
  const closing = new AbortController()
  app.addHook('preClose', async () => { closing.abort() })
  app.addHook('onSend', async (request, reply) => {
    if (reply.statusCode >= 400 && (request.headers['user-agent'] ?? '') === '') await sleep(refusalMs, undefined, { signal: closing.signal }).catch(() => {})
  })
  app.head('/events', { schema: { hide: true } }, async (request, reply) => await reply.send())
  app.post('/events', {
    config: { scope: 'events', tokenInQuery: true, documentedBody: EventsSchema },
    schema: {
      operationId: 'receiveEvents',
      summary: 'Receive S3 events without SNS',
      description: 'Native records of S3, MinIO or Ceph, or one EventBridge event. What can never be processed, or lies beyond the buckets and CP codes of the token, is counted, logged and answered 200 all the same: some senders repeat it for ever otherwise. For the same reason a sender that names no User-Agent, as the gateway of Ceph, hears of a refusal after a second.',
      tags: ['events'],
      security: [{ bearer: [] }],
      querystring: Type.Object({ token: Type.Optional(Type.String({ description: 'the secret, for senders that can set no header; never logged' })) }),
      response: {
        200: { ...ReceiptSchema, description: 'All of it is durably stored, or counted.' },
        ...always,
        401: problem('unauthorized'),
        403: problem('forbidden, proxy_without_tokens'),
        413: problem('payload_too_large'),
        429: problem('too_many_requests: wrong secrets'),
        503: problem('store_unavailable: send it again')
      }
    }
  }, async request => {
    return await app.events.receiveEvents(request.body instanceof Uint8Array ? request.body : Buffer.alloc(0), request.caller)
  })
}

export default routes
