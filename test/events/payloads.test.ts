import { readFile } from 'node:fs/promises'
import t from 'tap'
import { decodeEventText, type DecodedEvents } from '../../src/events/decode.ts'
import type { EventRecord } from '../../src/events/record.ts'
import { eventSources } from '../../src/events/names.ts'
import { mapKey, type Rule } from '../../src/mapping.ts'
import index from '../fixtures/s3-events/index.json' with { type: 'json' }

/** What the index says of a record; what it leaves out is false or absent. */
interface Expected {
  action: string
  eventName: string | null
  bucket: string | null
  key: string | null
  keyBytes: number | null
  versionId: string | null
  sequencer: string | null
  size: number | null
  etag: string | null
  reason?: string
  needsHead?: boolean
  eventAction?: string | null
  pathPolicy?: string
  duplicateOf?: number
  staleAgainst?: number
  message?: number
}

interface Payload { file: string, transport: string, action?: string, reason?: string, finalState?: Record<string, string>, records?: Expected[] }

const payloads = index.files as unknown as Payload[]
const options = { buckets: index.config.buckets, sources: eventSources, maxRecords: index.config.maxRecords }

/** The index's prose in our words. What it says of an upload or a delete explains only why to look first. */
const words: Record<string, string | undefined> = {
  'one version was removed for good; the key may still exist (non-current version) or may be visible again (a delete marker was removed): check the current state first': undefined,
  'also sent for permanently removed non-current versions': undefined,
  'Ceph extension name; later releases also know LifecycleExpiration:*': undefined,
  'RGW also emits Post when a multipart upload is started: the object may not exist yet, HEAD decides': undefined,
  'not a content change': 'not_a_content_change',
  'not a content change; may be used to retry an upload that failed because the object was archived': 'not_a_content_change',
  'not a content change although the family name suggests one': 'not_a_content_change',
  'not a content change, although it carries a sequencer': 'not_a_content_change',
  'read access': 'not_a_content_change',
  'unknown name in the ObjectCreated family: ignore with a warning metric, do not match on the prefix': 'unknown_event',
  'dot-dot segment would leave the upload root': 'dot_segment',
  'dot-dot segment': 'dot_segment',
  'dot segment would alias a/b.txt': 'dot_segment',
  'zero-byte folder marker made by the console': 'folder_marker',
  'content under a name that ends in a slash cannot be a file on a path-based store': 'trailing_slash',
  'longer than S3 allows: forged or corrupted': 'key_too_long',
  'NUL in key': 'control_character',
  'CR/LF in key: header and log injection': 'control_character',
  'control characters in key': 'control_character',
  'malformed percent escape': 'key_not_decodable',
  'truncated percent escape': 'key_not_decodable',
  'overlong UTF-8, not valid UTF-8': 'key_not_decodable',
  'UTF-8 encoded surrogate, not valid UTF-8': 'key_not_decodable',
  'empty key': 'key_empty',
  'key missing': 'key_missing',
  'bucket is not configured': 'bucket_not_allowed',
  'unknown major eventVersion': 'unknown_event_version',
  'eventSource is not an S3 source': 'unknown_source',
  'sent when a notification configuration is saved; has no Records': 'test_event',
  'test event inside SNS': 'test_event',
  'test event': 'test_event',
  'nothing to do': 'no_records',
  'Records is not an array': 'records_not_array',
  'neither Records nor a test event nor an EventBridge event': 'not_an_event',
  'Message is not JSON: acknowledge (2xx or 4xx, both end delivery) and count; never 5xx': 'not_json',
  'body is not JSON: report only this messageId in batchItemFailures (or drop and count)': 'not_json'
}

/** Our word for the index's prose; prose without a word is a fault of this test. */
function wordOf (prose: string | undefined): string | undefined {
  if (prose !== undefined && !Object.hasOwn(words, prose)) throw new Error(`no word for: ${prose}`)
  return prose === undefined ? undefined : words[prose]
}

/** Every member that the index and a record share, in one form. */
const fromIndex = ({ action, eventName, bucket, key, keyBytes, versionId, sequencer, size, etag, ...rest }: Expected) => ({
  action,
  eventName,
  bucket,
  key,
  keyBytes,
  versionId,
  sequencer,
  size,
  etag,
  reason: wordOf(rest.reason),
  needsHead: rest.needsHead ?? false,
  eventAction: rest.eventAction ?? undefined,
  duplicateOf: rest.duplicateOf,
  staleAgainst: rest.staleAgainst
})

const fromRecord = ({ action, eventName = null as never, bucket = null as never, key, versionId, sequencer, sizeBytes, etag, ...rest }: EventRecord) => ({
  action: action as string,
  eventName,
  bucket,
  key: key ?? null,
  keyBytes: key === undefined ? null : Buffer.byteLength(key),
  versionId: versionId ?? null,
  sequencer: sequencer ?? null,
  size: sizeBytes ?? null,
  etag: etag ?? null,
  reason: rest.reason as string | undefined,
  needsHead: rest.needsHead ?? false,
  eventAction: rest.eventAction as string | undefined,
  duplicateOf: rest.duplicateOf,
  staleAgainst: rest.staleAgainst
})

const load = async (file: string) => await readFile(new URL(`../fixtures/s3-events/${file}`, import.meta.url), 'utf8')

/** What reaches the decoder: the Message of an SNS notification, else the body itself. */
const textOf = (transport: string, body: string): string => transport === 'sns-http' ? JSON.parse(body).Message : body

/** The texts that somebody who gets the event in Lambda would send on. */
function unwrap (event: { Records?: Array<{ body?: string, Sns?: { Message: string } }>, body?: string, isBase64Encoded?: boolean }): string[] {
  const texts = event.Records?.map(({ body, Sns }) => body ?? Sns?.Message ?? '') ??
    [Buffer.from(event.body ?? '', event.isBase64Encoded === true ? 'base64' : 'utf8').toString()]
  return texts.map((text) => {
    try {
      return JSON.parse(text).Message ?? text
    } catch {
      return text
    }
  })
}

const transports: Record<string, string[]> = { s3: ['s3'], eventbridge: ['eventbridge'], 'minio-webhook': ['minio-webhook'], 'ceph-rgw': ['ceph-rgw'], 'sns-http': ['s3', 'eventbridge'], 'sns-http-raw': ['s3'] }

t.test('every payload means what the index says', async (t) => {
  t.equal(payloads.length, 114)
  for (const { file, transport, action, reason, records = [] } of payloads.filter(({ transport }) => Object.hasOwn(transports, transport))) {
    const allOfThem = { ...options, maxRecords: 1000 }
    const decoded: DecodedEvents = decodeEventText(textOf(transport, await load(file)), allOfThem)
    t.strictSame(decoded.records.map(fromRecord), records.map(fromIndex), file)
    t.strictSame([decoded.message?.action, decoded.message?.reason], [action, wordOf(reason)], `${file} as a whole`)
    const unknown = decoded.message?.reason === 'not_json' || decoded.message?.reason === 'not_an_event'
    t.ok(unknown || transports[transport]?.includes(decoded.transport ?? ''), `${file} came by ${decoded.transport}`)
  }
})

t.test('bytes mean what their text means', async (t) => {
  for (const { file, transport } of payloads.filter(({ transport }) => transport === 's3')) {
    const text = textOf(transport, await load(file))
    t.strictSame(decodeEventText(Buffer.from(text), options), decodeEventText(text, options), file)
  }
})

t.test('more records than the limit are refused together', async (t) => {
  const { records, message } = decodeEventText(await load('82-records-101.json'), options)
  t.same(records, [])
  t.match(message, { action: 'reject', reason: 'too_many_records' })
})

t.test('what Lambda gets is refused as it is, and means the same once it is unwrapped', async (t) => {
  const wrapped = payloads.filter(({ transport }) => !Object.hasOwn(transports, transport))
  t.equal(wrapped.length, 7)
  for (const { file, records = [] } of wrapped) {
    const text = await load(file)
    t.match(decodeEventText(text, options), { records: [], message: { action: 'reject', reason: 'wrapped_event', detail: /Lambda gets/ } }, file)
    const decoded = unwrap(JSON.parse(text)).map((each) => decodeEventText(each, options))
    const outcomes: unknown[] = decoded.flatMap<unknown>(({ message, records }) => message === undefined ? records.map(fromRecord) : [{ action: message.action, reason: message.reason }])
    t.strictSame(outcomes, records.map((each) => each.message === undefined ? fromIndex(each) : { action: each.action, reason: wordOf(each.reason) }), file)
  }
})

t.test('an SNS message that is sent to the wrong place is told so', async (t) => {
  t.match(decodeEventText(await load('130-sns-http-envelope.json'), options).message, { reason: 'wrapped_event', detail: /\/sns/ })
})

t.test('a restored object is recognised, and nothing else is', async (t) => {
  for (const { file, transport } of payloads.filter(({ transport }) => Object.hasOwn(transports, transport))) {
    const { records } = decodeEventText(textOf(transport, await load(file)), options)
    t.equal(records.some(({ restoreCompleted }) => restoreCompleted === true), ['20-restore-completed.json', '96-eb-restore-completed.json'].includes(file), file)
  }
})

t.test('somebody is warned of the unknown and of the lost', async (t) => {
  for (const { file, transport } of payloads.filter(({ transport }) => Object.hasOwn(transports, transport))) {
    const { records } = decodeEventText(textOf(transport, await load(file)), options)
    t.equal(records.some(({ warn }) => warn === true), ['26-rrs-lost.json', '29-unknown-event.json'].includes(file), file)
  }
})

t.test('of the events of one object the newest decides, in whatever order they come', async (t) => {
  for (const { file, finalState } of payloads.filter(({ finalState }) => finalState !== undefined)) {
    const event = JSON.parse(await load(file))
    for (const records of [event.Records, event.Records.toReversed()]) {
      const decided = decodeEventText(JSON.stringify({ Records: records }), options).records.filter(({ staleAgainst, duplicateOf }) => staleAgainst === undefined && duplicateOf === undefined)
      t.same(Object.fromEntries(decided.map(({ key, action }) => [key, action])), finalState)
    }
  }
})

t.test('a legal key that is odd as a path is mapped to itself or refused, never to another', async (t) => {
  const rule: Rule = { name: 'all', bucket: 'media-origin-example', prefix: '', include: [], exclude: [], target: 'main', cpCode: 1, path: '{key}', deletes: 'propagate', etagIsMd5: 'auto', metadata: { contentEncoding: 'refuse', redirect: 'refuse' }, purge: { by: 'none', spelling: 'both', indexDocuments: [], action: 'invalidate', network: 'production', edgegrid: 'default' } }
  const odd = payloads.flatMap(({ records = [] }) => records).filter(({ pathPolicy }) => pathPolicy !== undefined).map(({ key }) => key ?? '')
  t.same(odd, ['win\\path\\file.txt', '/abs/file.txt', 'a//b/file.txt', 'folders/odd/'])
  for (const key of odd) {
    if (key.includes('\\')) t.equal(mapKey(rule, key).path, key)
    else t.throws(() => mapKey(rule, key), { code: 'key_not_mappable' }, key)
  }
})
