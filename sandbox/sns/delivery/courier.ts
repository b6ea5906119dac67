import { setTimeout as sleep } from 'node:timers/promises'
import type { Faults } from '../../kit/faults.ts'
import { basicCredentials, hasBasicChallenge, verdictOn, type Answer, type Poster } from './poster.ts'
import type { MessageType } from '../message.ts'

/** One message on its way to one endpoint. */
export interface Parcel {
  type: MessageType
  messageId: string
  topicArn: string
  subscriptionArn: string
  endpoint: URL
  raw: boolean
  contentType: string
  body: string
  /** Seconds before each retry. */
  delays: number[]
}

/**
 * What became of one attempt. `challenged` = a 401 that asked for credentials, which follow at once; `unacknowledged` =
 * the endpoint's 2xx was lost on its way; `refused` and `given up` are the end, and go to the dead letters.
 */
export type Outcome = 'delivered' | 'challenged' | 'unacknowledged' | 'failed' | 'refused' | 'given up'

/** One POST as it went; `status` 0 = no answer. `at` is epoch milliseconds. */
export interface DeliveryLogEntry {
  at: number
  type: MessageType
  messageId: string
  topicArn: string
  subscriptionArn: string
  /** Without credentials. */
  endpoint: string
  attempt: number
  status: number
  outcome: Outcome
  /** Whether credentials were sent. */
  authorized: boolean
  reason?: string
}

export interface CourierOptions {
  poster: Poster
  faults: Faults
  now: () => number
  random: () => number
  retryScale: number
  signal: AbortSignal
  losesAcknowledgement: () => boolean
}

/** Brings parcels to their endpoints, again and again as the policy of each says. */
export class Courier {
  readonly log: DeliveryLogEntry[] = []
  readonly deadLetters: Parcel[] = []
  readonly #options: CourierOptions

  constructor (options: CourierOptions) {
    this.#options = options
  }

  /** Resolves when the parcel arrived or was given up. */
  async bring (parcel: Parcel): Promise<void> {
    const { random, retryScale, signal } = this.#options
    try {
      for (let attempt = 1; ; attempt++) {
        const delay = parcel.delays[attempt - 1]
        const outcome = await this.#attempt(parcel, attempt, delay === undefined)
        if (outcome === 'delivered') return
        if (outcome === 'refused' || delay === undefined) break
        // AWS adds jitter, so that messages that failed together do not come back together.
        await sleep(delay * 1000 * retryScale * (0.9 + 0.2 * random()), undefined, { signal })
      }
      this.deadLetters.push(parcel)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async #attempt (parcel: Parcel, attempt: number, isLast: boolean): Promise<Outcome> {
    const { poster, faults, now, signal, losesAcknowledgement } = this.#options
    const { type, messageId, topicArn, subscriptionArn, endpoint, raw, contentType } = parcel
    const note = (answer: Answer, outcome: Outcome, authorized: boolean): Outcome => {
      const { status = 0, reason } = answer
      if (!signal.aborted) this.log.push({ at: now(), type, messageId, topicArn, subscriptionArn, endpoint: `${endpoint.origin}${endpoint.pathname}${endpoint.search}`, attempt, status, outcome, authorized, ...(reason === undefined ? {} : { reason }) })
      return outcome
    }
    const fault = faults.take({ action: type, method: 'POST', path: endpoint.pathname })
    if (fault?.latencyMs !== undefined) await sleep(fault.latencyMs, undefined, { signal })
    if (fault?.reset === 'before') return note({ reason: 'forced' }, isLast ? 'given up' : 'failed', false)
    const headers = {
      'x-amz-sns-message-type': type,
      'x-amz-sns-message-id': messageId,
      'x-amz-sns-topic-arn': topicArn,
      ...(type === 'SubscriptionConfirmation' ? {} : { 'x-amz-sns-subscription-arn': subscriptionArn }),
      ...(raw ? { 'x-amz-sns-rawdelivery': 'true' } : {}),
      'Content-Type': contentType,
      Host: endpoint.host,
      Connection: 'Keep-Alive',
      'User-Agent': 'Amazon Simple Notification Service Agent',
      'Accept-Encoding': 'gzip,deflate'
    }
    const body = Buffer.from(parcel.body)
    const credentials = basicCredentials(endpoint)
    let answer = await poster.post(endpoint, headers, body)
    const isChallenge = credentials !== undefined && hasBasicChallenge(answer)
    if (isChallenge) {
      note(answer, 'challenged', false)
      answer = await poster.post(endpoint, { ...headers, Authorization: credentials }, body)
    }
    const verdict = verdictOn(answer)
    if (verdict === 'delivered') {
      const isLost = fault?.kind === 'lose-acknowledgement' || losesAcknowledgement()
      return note(answer, isLost ? 'unacknowledged' : 'delivered', isChallenge)
    }
    return note(answer, verdict === 'failed' && isLast ? 'given up' : verdict, isChallenge)
  }
}
