import { randomBytes, randomUUID } from 'node:crypto'
import type { Faults } from '../kit/faults.ts'
import type { HoldBack } from '../kit/hold-back.ts'
import type { Tasks } from '../kit/tasks.ts'
import { ApiError, invalid, type Actions } from './api.ts'
import type { Courier } from './delivery/courier.ts'
import { retryDelays, type RetryPolicy } from './delivery/retry-policy.ts'
import { bodyOf, type Fields, type MessageType } from './message.ts'

export interface SubscribeOptions {
  /** The body of a notification is then the bare message, without signature. */
  raw?: boolean
  policy?: Partial<RetryPolicy>
  /** As the delivery policy's `headerContentType`. */
  contentType?: string
  /** Skips the confirmation. */
  confirmed?: boolean
}

export interface Subscription {
  arn: string
  topicArn: string
  endpoint: URL
  raw: boolean
  contentType: string
  /** Seconds before each retry. */
  delays: number[]
  state: 'pending' | 'confirmed' | 'deleted'
  token: string
  /** Resolves at the first confirmation. */
  confirmed: Promise<void>
}

/** What goes with a message. */
export interface PublishOptions { subject?: string, attributes?: Record<string, { Type: string, Value: string }> }

/** What may befall a publication: never delivered; twice, with two MessageIds; overtaken by later ones. */
export type Mishap = 'lose' | 'double' | 'hold'

interface TopicsOptions {
  arns: Set<string>
  now: () => number
  publicOrigin: string
  policy: Partial<RetryPolicy>
  sign: (fields: Fields) => Fields
  courier: Courier
  faults: Faults
  strikes: (mishap: Mishap) => boolean
  holdBack: HoldBack
  tasks: Tasks
}

const largestMessage = 262_144

/** The topics, who is subscribed to them, and what they publish. */
export class Topics implements Actions {
  readonly subscriptions: Subscription[] = []
  readonly #confirmations = new Map<Subscription, () => void>()
  readonly #options: TopicsOptions

  constructor (options: TopicsOptions) {
    this.#options = options
  }

  subscribe (topicArn: string, endpoint: string, options: SubscribeOptions = {}): Subscription {
    this.#need(topicArn)
    const url = URL.parse(endpoint)
    if (url === null || !/^https?:$/.test(url.protocol)) throw invalid('Endpoint must match the specified protocol')
    const known = this.subscriptions.find(each => each.topicArn === topicArn && each.endpoint.href === url.href && each.state === 'confirmed')
    if (known !== undefined) return known
    const { promise, resolve } = Promise.withResolvers<void>()
    const subscription: Subscription = {
      arn: `${topicArn}:${randomUUID()}`,
      topicArn,
      endpoint: url,
      raw: options.raw ?? false,
      contentType: options.contentType ?? 'text/plain; charset=UTF-8',
      delays: retryDelays({ ...this.#options.policy, ...options.policy }),
      state: 'pending',
      token: randomBytes(100).toString('hex'),
      confirmed: promise
    }
    this.subscriptions.push(subscription)
    this.#confirmations.set(subscription, resolve)
    if (options.confirmed === true) this.confirm(topicArn, subscription.token)
    else this.#sendConfirmation(subscription, 'SubscriptionConfirmation')
    return subscription
  }

  /** Twice with one token is harmless; the token of an ended subscription restores it. */
  confirm (topicArn: string, token: string): string {
    this.#need(topicArn)
    const subscription = this.subscriptions.find(each => each.topicArn === topicArn && each.token === token)
    if (subscription === undefined) throw invalid('Token')
    subscription.state = 'confirmed'
    this.#confirmations.get(subscription)?.()
    return subscription.arn
  }

  unsubscribe (subscriptionArn: string): void {
    const subscription = this.subscriptions.find(each => each.arn === subscriptionArn)
    if (subscription?.state !== 'confirmed') return
    subscription.state = 'deleted'
    this.#sendConfirmation(subscription, 'UnsubscribeConfirmation')
  }

  publish (topicArn: string, message: string, options: PublishOptions = {}): string {
    this.#need(topicArn)
    if (message === '') throw invalid('Empty message')
    if (Buffer.byteLength(message) > largestMessage) throw invalid('Message too long')
    if (options.subject !== undefined && !/^[!-~][ -~]{0,99}$/.test(options.subject)) throw invalid('Subject')
    const { faults, strikes } = this.#options
    const fault = faults.take({ action: 'Publish', method: 'POST', path: topicArn })
    const befalls = (mishap: Mishap) => fault?.kind === mishap || strikes(mishap)
    const messageId = this.#publishOnce(topicArn, message, options, befalls)
    if (befalls('double')) this.#publishOnce(topicArn, message, options, befalls)
    return messageId
  }

  #publishOnce (topicArn: string, message: string, { subject, attributes }: PublishOptions, befalls: (mishap: Mishap) => boolean): string {
    const { now, publicOrigin, sign, holdBack, tasks } = this.#options
    const messageId = randomUUID()
    if (befalls('lose')) return messageId
    const fields = sign({
      Type: 'Notification',
      MessageId: messageId,
      TopicArn: topicArn,
      ...(subject === undefined ? {} : { Subject: subject }),
      Message: message,
      Timestamp: new Date(now()).toISOString()
    })
    const deliver = () => {
      for (const subscription of this.subscriptions.filter(each => each.topicArn === topicArn && each.state === 'confirmed')) {
        const UnsubscribeURL = `${publicOrigin}/?Action=Unsubscribe&SubscriptionArn=${subscription.arn}`
        const more = { UnsubscribeURL, ...(attributes === undefined ? {} : { MessageAttributes: attributes }) }
        this.#send(subscription, 'Notification', messageId, subscription.raw ? message : bodyOf({ ...fields, ...more }))
      }
    }
    if (befalls('hold')) tasks.run(async () => { await holdBack.hold().then(deliver) })
    else {
      deliver()
      holdBack.passed()
    }
    return messageId
  }

  #sendConfirmation (subscription: Subscription, type: 'SubscriptionConfirmation' | 'UnsubscribeConfirmation'): void {
    const { now, publicOrigin, sign } = this.#options
    const { topicArn, token, arn } = subscription
    const messageId = randomUUID()
    const message = type === 'SubscriptionConfirmation'
      ? `You have chosen to subscribe to the topic ${topicArn}.\nTo confirm the subscription, visit the SubscribeURL included in this message.`
      : `You have chosen to deactivate subscription ${arn}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.`
    this.#send(subscription, type, messageId, bodyOf(sign({
      Type: type,
      MessageId: messageId,
      Token: token,
      TopicArn: topicArn,
      Message: message,
      SubscribeURL: `${publicOrigin}/?Action=ConfirmSubscription&TopicArn=${topicArn}&Token=${token}`,
      Timestamp: new Date(now()).toISOString()
    })))
  }

  #send (subscription: Subscription, type: MessageType, messageId: string, body: string): void {
    const { courier, tasks } = this.#options
    const { arn: subscriptionArn, topicArn, endpoint, contentType, delays } = subscription
    const raw = subscription.raw && type === 'Notification'
    tasks.run(async () => { await courier.bring({ type, messageId, topicArn, subscriptionArn, endpoint, raw, contentType, body, delays }) })
  }

  #need (topicArn: string): void {
    if (!this.#options.arns.has(topicArn)) throw new ApiError('NotFound', 404, 'Topic does not exist')
  }
}
