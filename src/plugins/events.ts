import fp from 'fastify-plugin'
import type { IncomingHttpHeaders } from 'node:http'
import { allowsBucket, type Caller } from '../access/caller.ts'
import type { Config } from '../config.ts'
import { AppError } from '../errors.ts'
import { decodeEventText } from '../events/decode.ts'
import { takeHints, type Hint, type Received } from '../jobs/intake/hints.ts'
import { createReceiveEvents, type Receipt } from '../jobs/intake/receive-events.ts'
import { createReceiveMessage } from '../jobs/intake/receive-message.ts'
import { createCertificates, type FetchCertificate } from '../sns/certificates/cache.ts'
import { fetchCertificate as fetchOverTls } from '../sns/certificates/fetch.ts'
import { confirmSubscription } from '../sns/confirm.ts'
import { createVerifier } from '../sns/verify.ts'
import { coalesce } from '../store/coalesce.ts'

/** How events come in. Both resolve when what they tell of is durably stored. */
export interface Events {
  /** One POST of SNS. */
  receiveMessage: (body: Uint8Array, headers: IncomingHttpHeaders) => Promise<void>
  /** Events without SNS, as far as the caller's token reaches. */
  receiveEvents: (body: Uint8Array, caller: Caller) => Promise<Receipt>
}

declare module 'fastify' {
  interface FastifyInstance {
    events: Events
  }
}

const maxMessagesAtOnce = 200
/** Enough that a second batch is made ready while the database has the first. */
const overlapAt = 64
/** S3 sends one record a message; what is posted by hand may hold a few more. */
const maxRecords = 1000

/** Wires what receives events: SNS's certificates, the confirmation, and the intake into the store. */
export default fp<{ config: Config, now: () => Date, fetchCertificate?: FetchCertificate | undefined, confirmFetch?: typeof fetch | undefined }>(async (app, { config, now, fetchCertificate = fetchOverTls, confirmFetch = fetch }) => {
  const { log, metrics } = app
  const { store } = app.clients
  const closing = new AbortController()
  app.addHook('preClose', async () => { closing.abort() })
  const count = (source: string, verdict: string): void => { metrics.events.inc({ source, verdict }) }

  const takeAll = coalesce<Hint[], Received[]>(async messages => {
    const results = await takeHints(store, messages.flat(), now())
    return messages.map(hints => results.splice(0, hints.length))
  }, { max: maxMessagesAtOnce, overlapAt })
  const receiveEvents = createReceiveEvents({
    rules: () => config.rules.current().rules,
    count,
    log,
    async take (hints) {
      const received = await takeAll(hints).catch((cause: unknown) => {
        throw cause instanceof AppError ? cause : new AppError('store_unavailable', 'The events could not be stored. Nothing was started; send them again.', { cause })
      })
      app.kick('copies')
      return received
    }
  })
  const buckets = (): string[] => config.rules.current().buckets

  const { topicArns, origin } = config.sns
  const verifier = createVerifier({
    topicArns,
    now,
    certificates: createCertificates({ fetchCertificate, now, signal: closing.signal, ...(origin === undefined ? {} : { origin }) })
  })
  app.decorate('events', {
    receiveMessage: createReceiveMessage({
      verifier,
      topicArns,
      acceptRaw: config.sns.basicAuth !== undefined,
      buckets,
      maxRecords,
      receiveEvents,
      count,
      log,
      confirm (message) {
        confirmSubscription(message, {
          ...(origin === undefined ? {} : { origin }),
          signal: closing.signal,
          fetch: confirmFetch,
          onAttempt ({ confirmed, again, ...fields }) {
            if (confirmed) log.info(fields, 'the subscription to this topic is confirmed')
            else log.warn(fields, again ? 'confirming the subscription failed; trying again' : 'the subscription could not be confirmed: subscribe again')
          }
        })
      }
    }),
    async receiveEvents (body, caller) {
      const decoded = decodeEventText(body, { buckets: buckets().filter(bucket => allowsBucket(caller, bucket)), sources: ['aws:s3', 'minio:s3', 'ceph:s3'], maxRecords })
      return await receiveEvents(decoded, { type: 'events', ...(caller.token === undefined ? {} : { token: caller.token }) }, undefined, caller)
    }
  })
}, { name: 'events', dependencies: ['clients', 'work'] })
