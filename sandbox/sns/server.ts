import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Faults } from '../kit/faults.ts'
import { HoldBack } from '../kit/hold-back.ts'
import { seededRandom } from '../kit/random.ts'
import { Tasks } from '../kit/tasks.ts'
import { answerQuery } from './api.ts'
import { makeSigningIdentity, type CertificateOptions, type SigningIdentity } from './certificate.ts'
import { Courier, type DeliveryLogEntry, type Parcel } from './delivery/courier.ts'
import { Poster } from './delivery/poster.ts'
import type { RetryPolicy } from './delivery/retry-policy.ts'
import { signFields, type Fields, type SignatureVersion } from './message.ts'
import { Topics, type Mishap, type PublishOptions, type SubscribeOptions, type Subscription } from './topics.ts'

export interface SnsOptions {
  port?: number
  host?: string
  /** ARNs. */
  topics?: string[]
  /** Epoch milliseconds. */
  now?: () => number
  /** `mixed` = 1 and 2 in turn; `1` by default, as AWS. */
  signatureVersion?: SignatureVersion | 'mixed'
  certificate?: CertificateOptions
  /** The origin that messages name in their URLs; the emulator's own by default. */
  publicOrigin?: string
  /** The delivery policy of all subscriptions; what a subscription brings itself wins. */
  policy?: Partial<RetryPolicy>
  /** Shortens the waits between attempts; 1 by default, tests take 0.01. */
  retryScale?: number
  /** How long an endpoint may take; not scaled. */
  timeoutMs?: number
  seed?: number
}

export interface SnsEmulator {
  origin: string
  port: number
  /** ARNs; more may be added. */
  topics: Set<string>
  subscriptions: Subscription[]
  /** Every delivery, in the order of the answers. */
  log: DeliveryLogEntry[]
  /** What was given up, as a queue of dead letters would hold it. */
  deadLetters: Parcel[]
  /**
   * By `action`: `Publish` (kinds `lose`, `double`, `hold`); a message type, for each delivery of it (`latencyMs`,
   * `reset`, kind `lose-acknowledgement`); and for requests to this server `Certificate` or the name of an API action
   * (`latencyMs`, `status`, `body`, `headers`, `reset`, `hang`).
   */
  faults: Faults
  /** How likely each mishap is, from 0 to 1; the seed decides. */
  chances: Record<Mishap | 'loseAcknowledgement', number>
  /** Seconds by which this server's clock is ahead. */
  clock: { offsetSeconds: number }
  /** Sends a confirmation, unless the endpoint is subscribed already. A URL may carry `user:password@`. */
  subscribe: (topicArn: string, endpoint: string, options?: SubscribeOptions) => Subscription
  unsubscribe: (subscriptionArn: string) => void
  /** Returns the MessageId. */
  publish: (topicArn: string, message: string, options?: PublishOptions) => string
  /** Signs any members with the current key, genuine or not. */
  sign: (fields: Fields, version?: SignatureVersion) => Fields
  /** Where the current certificate is, as messages name it. */
  certificateUrl: () => string
  /** Signs with a new key from now on; earlier certificates stay where they are. */
  renewCertificate: (options?: CertificateOptions) => Promise<void>
  /** Resolves when nothing is in flight, retries included; what was held back goes now. */
  idle: () => Promise<void>
  close: () => Promise<void>
}

/** SNS for HTTP and HTTPS endpoints: confirmations, signatures, retries and mishaps as AWS is known to have them. */
export async function startSns (options: SnsOptions = {}): Promise<SnsEmulator> {
  const { signatureVersion = '1', policy = {}, retryScale = 1, timeoutMs = 15_000, seed = 1 } = options
  const clock = { offsetSeconds: 0 }
  const real = options.now ?? Date.now
  const now = () => real() + clock.offsetSeconds * 1000
  const random = seededRandom(seed)
  const chances = { lose: 0, double: 0, hold: 0, loseAcknowledgement: 0 }
  const strikes = (name: keyof typeof chances) => chances[name] > 0 && random() < chances[name]
  const faults = new Faults()
  const closing = new AbortController()
  const { signal } = closing
  const poster = new Poster(timeoutMs, signal)
  const courier = new Courier({ poster, faults, now, random, retryScale, signal, losesAcknowledgement: () => strikes('loseAcknowledgement') })
  const holdBack = new HoldBack(random)
  const tasks = new Tasks()
  const certificates = new Map<string, string>()
  let identity: SigningIdentity
  let signed = 0

  async function renewCertificate (certificate: CertificateOptions = {}): Promise<void> {
    identity = await makeSigningIdentity({ ...options.certificate, ...certificate }, now())
    certificates.set(identity.path, identity.pem)
  }
  await renewCertificate()

  const server = createServer((request, response) => { handle(request, response).catch(() => { request.socket.destroy() }) })
  await new Promise<void>(resolve => { server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const publicOrigin = options.publicOrigin ?? origin
  const certificateUrl = () => publicOrigin + identity.path

  function sign (fields: Fields, version?: SignatureVersion): Fields {
    const inTurn = signatureVersion === 'mixed' ? (signed++ % 2 === 0 ? '1' : '2') : signatureVersion
    return signFields(fields, version ?? inTurn, identity.privateKey, certificateUrl())
  }
  const arns = new Set(options.topics ?? [])
  const topics = new Topics({ arns, now, publicOrigin, policy, sign, courier, faults, strikes, holdBack, tasks })

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '/' } = request
    const { pathname, searchParams } = new URL(url, origin)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    for (const [name, value] of new URLSearchParams(Buffer.concat(chunks).toString())) searchParams.append(name, value)
    const action = pathname === '/' ? searchParams.get('Action') ?? '' : 'Certificate'
    const fault = faults.take({ action, method, path: pathname })
    if (fault?.latencyMs !== undefined) await sleep(fault.latencyMs, undefined, { signal })
    if (fault?.hang === 'before') return
    if (fault?.reset === 'before') {
      request.socket.destroy()
      return
    }
    const reply = (status: number, type: string, body: string, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'Content-Type': type, 'x-amzn-RequestId': randomUUID(), ...headers }).end(body)
    }
    if (fault?.status !== undefined) return reply(fault.status, 'text/plain', fault.body ?? 'forced\n', fault.headers)
    if (action !== 'Certificate') {
      const { status, xml } = answerQuery(searchParams, topics)
      return reply(status, 'text/xml', xml)
    }
    const pem = certificates.get(pathname)
    reply(pem === undefined ? 404 : 200, pem === undefined ? 'text/plain' : 'application/x-pem-file', pem ?? 'not found\n')
  }

  return {
    origin,
    port,
    topics: arns,
    subscriptions: topics.subscriptions,
    log: courier.log,
    deadLetters: courier.deadLetters,
    faults,
    chances,
    clock,
    subscribe: (topicArn, endpoint, more) => topics.subscribe(topicArn, endpoint, more),
    unsubscribe: subscriptionArn => { topics.unsubscribe(subscriptionArn) },
    publish: (topicArn, message, more) => topics.publish(topicArn, message, more),
    sign,
    certificateUrl,
    renewCertificate,
    async idle () {
      holdBack.release()
      await tasks.idle()
    },
    async close () {
      closing.abort()
      holdBack.release()
      await tasks.idle()
      poster.close()
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
