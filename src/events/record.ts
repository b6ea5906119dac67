import { readKey, type KeyEncoding, type KeyFault } from './keys.ts'
import { compact } from './members.ts'
import { needsHead, type EventAction, type EventSource, type Meaning } from './names.ts'
import { orderOf } from './sequencer.ts'

/** Why a record is ignored or rejected, by a stable word for counters. */
export type RecordReason = KeyFault
  | 'unknown_source' | 'source_not_allowed' | 'unknown_event_version' | 'event_name_missing' | 'bucket_missing' | 'bucket_not_allowed'
  | 'not_a_content_change' | 'unknown_event' | 'folder_marker' | 'trailing_slash'

/** One event, and what is to become of it. It is a hint to look at the key, never a command; absent members were not sent. */
export interface EventRecord {
  /** `ignore` = nothing to do; `reject` = must not become a job, and somebody should know. */
  action: EventAction | 'reject'
  /** The sender; none if it is not one we know. */
  source?: EventSource
  /** As it was sent: MinIO and older Ceph put `s3:` before it, EventBridge has other words. */
  eventName?: string
  bucket?: string
  /** Decoded; none if it could not be. */
  key?: string
  versionId?: string
  /** As it was sent; `orderOf` says whether it orders anything. */
  sequencer?: string
  sizeBytes?: number
  /** Without quotes. */
  etag?: string
  eventTime?: Date
  reason?: RecordReason
  /** What the event says, where `action` is something else because of the key, the bucket or the version. */
  eventAction?: EventAction
  /** The event alone proves nothing: read the present state. */
  needsHead?: true
  /** Somebody should look: an event nobody told us of, or a lost object. */
  warn?: true
  /** An archived object can be read now: a job that failed for that may be woken. */
  restoreCompleted?: true
  /** The index of an equal record of the same message. */
  duplicateOf?: number
  /** The index of a record of the same message and object that is newer. */
  staleAgainst?: number
}

/** What an envelope says of one event, read but not judged. */
export interface Reading extends Pick<EventRecord, 'source' | 'eventName' | 'bucket' | 'versionId' | 'sequencer' | 'sizeBytes' | 'etag' | 'eventTime'> {
  wireKey: unknown
  keyEncoding: KeyEncoding
  /** The version of the envelope is one we know. */
  knownVersion: boolean
  meaning: Meaning
}

/** Which events become jobs. */
export interface RecordPolicy {
  /** The senders that are believed. */
  sources: readonly EventSource[]
  buckets: readonly string[]
}

interface Judgement { action: EventRecord['action'], reason?: RecordReason | undefined }

/** Judges one event. Whoever may publish can write anything in it, so that all of it is checked; nothing throws. */
export function judge (reading: Reading, policy: RecordPolicy): EventRecord {
  const { wireKey, keyEncoding, knownVersion, meaning, ...said } = reading
  const { key, fault } = readKey(wireKey, keyEncoding)
  const { action, reason } = judgeAction(reading, key, fault, policy)
  const legible = key !== undefined && said.source !== undefined && said.eventName !== undefined
  const wanted = action === 'upload' || action === 'delete'
  return compact<EventRecord>({
    action,
    ...said,
    key,
    reason,
    eventAction: legible && action !== meaning.action ? meaning.action : undefined,
    needsHead: (wanted && needsHead(meaning, said.versionId !== undefined, orderOf(said) !== undefined)) || undefined,
    warn: (action === 'ignore' && meaning.warn) || undefined,
    restoreCompleted: (action === 'ignore' && fault === undefined && meaning.restoreCompleted) || undefined
  })
}

function judgeAction (reading: Reading, key: string | undefined, fault: KeyFault | undefined, policy: RecordPolicy): Judgement {
  const { action, known } = reading.meaning
  const refusal = findRefusal(reading, policy)
  if (refusal !== undefined) return { action: 'reject', reason: refusal }
  if (action === 'ignore') return { action, reason: known ? 'not_a_content_change' : 'unknown_event' }
  if (key === undefined || fault !== undefined) return { action: 'reject', reason: fault }
  if (!key.endsWith('/')) return { action }
  // Such a name is no file's. A folder marker has no bytes, which MinIO writes as no size at all; and none was ever copied.
  const empty = reading.sizeBytes === 0 || (reading.sizeBytes === undefined && reading.source === 'minio:s3')
  return action === 'delete' || empty ? { action: 'ignore', reason: 'folder_marker' } : { action: 'reject', reason: 'trailing_slash' }
}

/** What keeps an event from being believed, whatever happened to the object. */
function findRefusal ({ source, knownVersion, eventName, bucket }: Reading, { sources, buckets }: RecordPolicy): RecordReason | undefined {
  if (source === undefined) return 'unknown_source'
  if (!sources.includes(source)) return 'source_not_allowed'
  if (!knownVersion) return 'unknown_event_version'
  if (eventName === undefined) return 'event_name_missing'
  if (bucket === undefined) return 'bucket_missing'
  return buckets.includes(bucket) ? undefined : 'bucket_not_allowed'
}
