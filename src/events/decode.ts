import { isEventBridge, readEventBridge } from './eventbridge.ts'
import { member, nameOf } from './members.ts'
import type { EventSource } from './names.ts'
import { readNative } from './native.ts'
import { judge, type EventRecord, type RecordPolicy } from './record.ts'
import { markRepeats } from './sequencer.ts'

/** The envelope, which decides how keys are written. */
export type Transport = 's3' | 'eventbridge' | 'minio-webhook' | 'ceph-rgw'

/** Why a message as a whole has no records, by a stable word for counters. */
export type MessageReason = 'test_event' | 'no_records' | 'not_utf8' | 'not_json' | 'not_an_event' | 'wrapped_event' | 'records_not_array' | 'too_many_records'

export interface DecodeOptions {
  /** The buckets whose events become jobs. */
  buckets: readonly string[]
  /** The senders that are believed (`aws:s3` alone). */
  sources?: readonly EventSource[]
  /** More records than that are refused together (1000). S3 itself sends one. */
  maxRecords?: number
}

/** What a message holds. Either `records` has something, or `message` says why not. */
export interface DecodedEvents {
  transport?: Transport
  /** EventBridge's own identity of the event, the same on every delivery. */
  eventId?: string
  records: EventRecord[]
  /** What is to become of a message without records. `ignore` is as it should be; `reject`: somebody should know. */
  message?: { action: 'ignore' | 'reject', reason: MessageReason, detail: string }
}

const transports: Record<EventSource, Transport> = { 'aws:s3': 's3', 'minio:s3': 'minio-webhook', 'ceph:s3': 'ceph-rgw' }

/**
 * Reads the events in a parsed JSON value: S3's own form, MinIO's, Ceph's, or one event of EventBridge. Nothing in it can
 * make it throw; each record is judged by itself, so that a bad one does not lose its neighbours.
 */
export function decodeEvents (value: unknown, { buckets, sources = ['aws:s3'], maxRecords = 1000 }: DecodeOptions): DecodedEvents {
  const policy: RecordPolicy = { buckets, sources }
  if (isEventBridge(value)) {
    const eventId = nameOf(member(value, 'id'))
    return { transport: 'eventbridge', ...(eventId === undefined ? {} : { eventId }), records: [judge(readEventBridge(value), policy)] }
  }
  const wrapped = findWrapping(value)
  if (wrapped !== undefined) return without('reject', 'wrapped_event', wrapped)
  const records = member(value, 'Records')
  if (records === undefined) {
    return member(value, 'Event') === 's3:TestEvent'
      ? without('ignore', 'test_event', 'S3 sent its test event, as it does whenever a notification configuration is saved.', 's3')
      : without('reject', 'not_an_event', 'This is neither a notification of S3, MinIO or Ceph, nor an EventBridge event.')
  }
  if (!Array.isArray(records)) return without('reject', 'records_not_array', 'The member Records is not a list.', 's3')
  if (records.length === 0) return without('ignore', 'no_records', 'The list of records is empty.', 's3')
  if (records.length > maxRecords) return without('reject', 'too_many_records', `The message has ${records.length} records, and ${maxRecords} is the most.`, 's3')
  const readings = records.map(readNative)
  return { transport: transports[readings[0]?.source ?? 'aws:s3'], records: markRepeats(readings.map((reading) => judge(reading, policy))) }
}

/** The same from a body or the Message of an SNS notification. */
export function decodeEventText (text: Uint8Array | string, options: DecodeOptions): DecodedEvents {
  let json: string
  try {
    json = typeof text === 'string' ? text : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text)
  } catch {
    return without('reject', 'not_utf8', 'The text is not UTF-8.')
  }
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return without('reject', 'not_json', 'The text is not JSON.')
  }
  return decodeEvents(value, options)
}

/** An event inside another service's envelope. It is not unwrapped, for whoever unwrapped it first should have checked it. */
function findWrapping (value: unknown): string | undefined {
  const records = member(value, 'Records')
  const first: unknown = Array.isArray(records) ? records[0] : undefined
  if (member(first, 'eventSource') === 'aws:sqs') return 'These are messages of SQS as Lambda gets them: send the body of each.'
  if (member(first, 'EventSource') === 'aws:sns') return 'This is a message of SNS as Lambda gets it: send its Sns.Message, or subscribe this service to the topic.'
  if (member(value, 'requestContext') !== undefined) return 'This is an HTTP request as Lambda gets it: send its body.'
  return member(value, 'TopicArn') !== undefined && member(value, 'Message') !== undefined ? 'This is a message of SNS: send it to /sns as it came, or its Message alone here.' : undefined
}

function without (action: 'ignore' | 'reject', reason: MessageReason, detail: string, transport?: Transport): DecodedEvents {
  return { ...(transport === undefined ? {} : { transport }), records: [], message: { action, reason, detail } }
}
