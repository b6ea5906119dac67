import type { IncomingHttpHeaders } from 'node:http'
import { decodeEventText, type DecodedEvents } from '../../events/decode.ts'
import type { EventSource } from '../../events/names.ts'
import { parseMessage } from '../../sns/message.ts'
import { quote, SnsRefusal } from '../../sns/refusal.ts'
import type { SubscriptionConfirmation, Verifier } from '../../sns/verify.ts'
import type { JobSource } from '../../store/tables.ts'
import type { Receipt } from './receive-events.ts'

export interface ReceiveMessageOptions {
  verifier: Verifier
  topicArns: readonly string[]
  /** Whether what bears no signature is believed, because its sender proved itself otherwise. */
  acceptRaw: boolean
  buckets: () => readonly string[]
  maxRecords: number
  receiveEvents: (decoded: DecodedEvents, source: JobSource, messageKey: string[]) => Promise<Receipt>
  /** Confirms a subscription in the background. */
  confirm: (message: SubscriptionConfirmation) => void
  count: (source: string, verdict: string) => void
  log: { info: (fields: object, message: string) => void, warn: (fields: object, message: string) => void }
}

const sources: EventSource[] = ['aws:s3']

/**
 * Takes one POST of SNS: verified, then confirmed, or its events stored. Resolves when all of it is durable, so that the
 * answer may be 2xx; throws an SnsRefusal, or `store_unavailable`.
 */
export function createReceiveMessage ({ verifier, topicArns, acceptRaw, buckets, maxRecords, receiveEvents, confirm, count, log }: ReceiveMessageOptions) {
  async function receiveRaw (body: Uint8Array, headers: IncomingHttpHeaders): Promise<void> {
    const topicArn = String(headers['x-amz-sns-topic-arn'] ?? '')
    const messageId = String(headers['x-amz-sns-message-id'] ?? '')
    if (!acceptRaw) throw new SnsRefusal('raw_delivery', 'Raw message delivery bears no signature: turn it off for this subscription, or set SNS_BASIC_AUTH and give the subscription that user and secret.')
    if (!topicArns.includes(topicArn)) throw new SnsRefusal('topic_not_allowed', `The topic ${quote(topicArn)} is not one this service obeys. If it should be, add its ARN to SNS_TOPIC_ARNS.`)
    await receiveText(body, topicArn, /^[0-9A-Za-z-]{1,64}$/.test(messageId) ? messageId : undefined)
  }

  async function receiveText (text: Uint8Array | string, topicArn: string, messageId: string | undefined): Promise<void> {
    await receiveEvents(decodeEventText(text, { buckets: buckets(), sources, maxRecords }), { type: 'sns', topicArn, ...(messageId === undefined ? {} : { messageId }) }, messageId === undefined ? [] : [topicArn, messageId])
  }

  return async function receiveMessage (body: Uint8Array, headers: IncomingHttpHeaders): Promise<void> {
    try {
      const { 'x-amz-sns-rawdelivery': raw, ...others } = headers
      // A confirmation comes whole and signed even to a subscription that is raw.
      if (raw === 'true' && others['x-amz-sns-message-type'] === 'Notification') return await receiveRaw(body, others)
      const message = await verifier.verify(parseMessage(body, others))
      const fields = { topicArn: message.topic.arn, messageId: message.messageId }
      if (message.type === 'Notification') return await receiveText(message.message, message.topic.arn, message.messageId)
      count('sns', message.type === 'SubscriptionConfirmation' ? 'confirmation' : 'unsubscribed')
      if (message.type === 'SubscriptionConfirmation') confirm(message)
      else log.warn(fields, 'the subscription to this topic was ended: no more of its events arrive until somebody subscribes again')
    } catch (error) {
      if (error instanceof SnsRefusal) {
        count('sns', error.reason)
        log.warn({ reason: error.reason, stage: error.stage }, error.message)
      }
      throw error
    }
  }
}
