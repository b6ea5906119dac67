import type { Certificates } from './certificates/cache.ts'
import type { SnsMessage } from './message.ts'
import { quote, SnsRefusal } from './refusal.ts'
import { verifySignature, type SignatureOptions } from './signature.ts'
import { parseTopicArn, type Topic } from './topic.ts'

interface Common {
  /** The same on every retry of a message: with the topic it identifies it. */
  messageId: string
  topic: Topic
  publishedAt: Date
}

/** SNS asks whether it may send a topic's messages here. */
export interface SubscriptionConfirmation extends Common {
  type: 'SubscriptionConfirmation'
  /** Secret until it is used. */
  token: string
}

/**
 * What SNS said beyond doubt, and only that: nothing unsigned and no URL. A confirmation is answered at a URL made of the
 * topic and the token; an `UnsubscribeConfirmation` is news only, its token would subscribe again.
 */
export type VerifiedMessage =
  | Common & { type: 'Notification', subject?: string, message: string }
  | SubscriptionConfirmation
  | Common & { type: 'UnsubscribeConfirmation' }

export interface VerifierOptions extends SignatureOptions {
  /** The topics that are obeyed; an ARN must be equal to one of them. None = everything is refused. */
  topicArns: readonly string[]
  certificates: Certificates
  now: () => Date
}

/** SNS retries for an hour at most, so that what is older was recorded by somebody and sent again. */
const maxAgeMs = 2 * 60 * 60 * 1000
const maxAheadMs = 5 * 60 * 1000

/**
 * Verifies messages that `parseMessage` let through, in the order topic, timestamp, cert-url, certificate, signature,
 * subscribe-url: nothing is fetched for a stranger's topic or an old message. Throws a plain error for a topic ARN it
 * does not know how to trust.
 */
export function createVerifier ({ topicArns, certificates, now, ...options }: VerifierOptions) {
  const topics = new Map(topicArns.map((arn) => [arn, knownTopic(arn)]))

  function findTopic ({ topicArn }: SnsMessage): Topic {
    const topic = topics.get(topicArn)
    if (topic === undefined) throw new SnsRefusal('topic_not_allowed', `The topic ${quote(topicArn)} is not one this service obeys. If it should be, add its ARN to SNS_TOPIC_ARNS.`)
    return topic
  }

  return {
    /** Throws an SnsRefusal. */
    async verify (message: SnsMessage): Promise<VerifiedMessage> {
      const topic = findTopic(message)
      const publishedAt = readTimestamp(message, now())
      const key = await certificates.findKey(message.signingCertUrl, topic)
      verifySignature(message, key, options)
      const { type, messageId } = message
      const common = { messageId, topic, publishedAt }
      if (type === 'Notification') return { type, ...common, message: message.message, ...(message.subject === undefined ? {} : { subject: message.subject }) }
      checkSubscribeUrl(message, certificates.endpointOf(topic))
      return type === 'SubscriptionConfirmation' ? { type, ...common, token: message.token } : { type, ...common }
    }
  }
}

/** What verifies messages. */
export type Verifier = ReturnType<typeof createVerifier>

function knownTopic (arn: string): Topic {
  const topic = parseTopicArn(arn)
  if (topic === undefined) throw new Error(`${quote(arn)} is not the ARN of a standard SNS topic in a known AWS partition.`)
  return topic
}

function readTimestamp ({ timestamp }: SnsMessage, now: Date): Date {
  const publishedAt = new Date(timestamp)
  if (Number.isNaN(publishedAt.getTime()) || publishedAt.toISOString() !== timestamp) {
    throw new SnsRefusal('bad_timestamp', `The Timestamp ${quote(timestamp)} is not a time as SNS writes it.`)
  }
  const ageMs = now.getTime() - publishedAt.getTime()
  const advice = 'If that is wrong, the clock of this machine is: set it right (NTP).'
  if (ageMs > maxAgeMs) throw new SnsRefusal('stale', `The message is ${Math.round(ageMs / 60_000)} minutes old, which no retry of SNS is. ${advice}`)
  if (ageMs < -maxAheadMs) throw new SnsRefusal('in_the_future', `The message is ${Math.round(-ageMs / 60_000)} minutes ahead of the clock. ${advice}`)
  return publishedAt
}

/**
 * The URL is never visited, but one that asks for anything else shows that somebody plays with the message. The prefix is
 * compared as text, the query as names and values: ARNs come with their colons escaped or not.
 */
function checkSubscribeUrl (message: Exclude<SnsMessage, { type: 'Notification' }>, endpoint: string): void {
  const start = `${endpoint}/?`
  const query = new URLSearchParams(message.subscribeUrl.slice(start.length))
  const wanted = [['Action', 'ConfirmSubscription'], ['TopicArn', message.topicArn], ['Token', message.token]] as const
  const good = message.subscribeUrl.startsWith(start) && !message.subscribeUrl.includes('#') &&
    wanted.every(([name, value]) => query.getAll(name).length === 1 && query.get(name) === value)
  if (!good) throw new SnsRefusal('bad_subscribe_url', `The SubscribeURL does not confirm this topic with this token at ${endpoint}.`)
}
