import { anybody, demandCpCode, type Caller } from '../../access/caller.ts'
import { AppError, toProblem } from '../../errors.ts'
import type { DecodedEvents } from '../../events/decode.ts'
import type { EventRecord } from '../../events/record.ts'
import { orderOf } from '../../events/sequencer.ts'
import { findRule, mapKey, type Rule } from '../../mapping.ts'
import type { JobSource } from '../../store/tables.ts'
import { identityOf, type Hint, type Received } from './hints.ts'

/** What became of the events of one message, counted by verdict. */
export interface Receipt {
  verdicts: Record<string, number>
  jobIds: string[]
}

export interface ReceiveEventsOptions {
  rules: () => readonly Rule[]
  /** Resolves once all of them are durably stored. */
  take: (hints: Hint[]) => Promise<Received[]>
  /** Counts by the sender's name and a stable word. */
  count: (source: string, verdict: string) => void
  log: { warn: (fields: object, message: string) => void }
}

/** Text from strangers, fit for the database and for a log line: NUL and lone surrogates cannot be stored. */
const shown = (text: string) => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text)
const storable = (text: string | undefined) => text !== undefined && text.isWellFormed() && !text.includes('\0') && Buffer.byteLength(text) <= 1024

/**
 * Turns the events of one message into jobs, all in one transaction. `messageKey` is what identifies the message to its
 * sender, where it has such a name. Rejects with `store_unavailable` if nothing could be stored: the sender must come again.
 */
export function createReceiveEvents ({ rules, take, count, log }: ReceiveEventsOptions) {
  return async function receiveEvents ({ records, message, eventId, transport }: DecodedEvents, source: JobSource, messageKey: string[] | undefined, caller: Caller = anybody): Promise<Receipt> {
    const receipt: Receipt = { verdicts: {}, jobIds: [] }
    const sender = transport ?? 'unknown'
    const tally = (verdict: string, from = sender): void => {
      receipt.verdicts[verdict] = (receipt.verdicts[verdict] ?? 0) + 1
      count(from, verdict)
    }
    if (message !== undefined) {
      tally(message.action === 'ignore' ? 'ignored' : 'rejected')
      if (message.action === 'reject') log.warn({ reason: message.reason, ...nameSource(source) }, message.detail)
    }
    const hints: Hint[] = []
    for (const [index, record] of records.entries()) {
      if (record.duplicateOf !== undefined) tally('duplicate')
      else if (record.staleAgainst !== undefined) tally('stale')
      else {
        const hint = toHint(record, source, caller, identitiesOf(record, index, messageKey, eventId))
        // No job: what the token may not name is not for its holder to bring about, now or by a retry.
        const isForeign = hint?.job.problem?.code === 'cp_code_not_allowed'
        if (hint !== undefined && !isForeign) hints.push(hint)
        if (hint?.job.problem !== undefined || record.action === 'reject') {
          tally('rejected')
          log.warn({ reason: record.reason ?? hint?.job.problem?.code, ...nameSource(source), bucket: record.bucket, key: record.key === undefined ? undefined : shown(record.key) }, hint?.job.problem?.detail ?? 'an event was refused')
        } else if (hint === undefined) {
          tally('ignored')
          if (record.warn) log.warn({ eventName: record.eventName, ...nameSource(source) }, 'an event of a kind this service does not know was ignored')
        }
      }
    }
    const taken = hints.length === 0 ? [] : await take(hints)
    for (const [index, { verdict, jobId }] of taken.entries()) {
      if (hints[index]?.job.problem === undefined) tally(verdict)
      if (jobId !== undefined) receipt.jobIds.push(jobId)
    }
    return receipt
  }

  /** The hint of a record; undefined for what needs no job. What cannot become a path is stored as failed, so that it is listed. */
  function toHint (record: EventRecord, source: JobSource, caller: Caller, identities: string[]): Hint | undefined {
    const { action, bucket, key, reason } = record
    const order = orderOf(record)
    const hint = record.source === undefined ? {} : { hint: { source: record.source, order: order === undefined ? null : sortable(order) } }
    if (action === 'ignore') {
      return record.restoreCompleted && bucket !== undefined && key !== undefined ? { identities: [], wakesArchived: true, job: { kind: 'sync', bucket, key, request: {}, source } } : undefined
    }
    if (action === 'reject' && !aboutKey(record)) return undefined
    try {
      if (action === 'reject' || bucket === undefined || key === undefined) throw new AppError('key_not_mappable', `The event names a key that cannot be copied (${reason ?? 'no key'})${key === undefined ? '' : `: ${shown(key)}`}.`)
      const rule = findRule(rules(), bucket, key)
      // Keys outside every rule are no fault: a bucket may hold more than what is delivered.
      if (rule === undefined) return undefined
      const mapped = mapKey(rule, key)
      demandCpCode(caller, mapped.cpCode)
      return { identities, job: { kind: 'sync', bucket, key, rule: rule.name, target: rule.target, ...mapped, request: { onMissing: 'delete' }, source, ...hint } }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return { identities, job: { kind: 'sync', request: {}, source, problem: toProblem(error), ...(bucket === undefined ? {} : { bucket }), ...(storable(key) ? { key: key as string } : {}) } }
    }
  }
}

/** A refusal that concerns the key of an allowed bucket; others say nothing that could be listed under an object. */
function aboutKey ({ bucket, reason }: EventRecord): boolean {
  return bucket !== undefined && reason !== undefined && !['unknown_source', 'source_not_allowed', 'unknown_event_version', 'event_name_missing', 'bucket_missing', 'bucket_not_allowed'].includes(reason)
}

/** Hex digits in one case and without leading zeros, as text that sorts by their value. */
const sortable = (order: string) => order.length.toString(16).padStart(2, '0') + order

function identitiesOf (record: EventRecord, index: number, messageKey: string[] | undefined, eventId: string | undefined): string[] {
  const { source = '', bucket = '', key = '' } = record
  const same = orderOf(record) ?? record.sequencer
  return [
    ...(messageKey === undefined ? [] : [identityOf('message', ...messageKey, index)]),
    ...(eventId === undefined ? [] : [identityOf('eventbridge', eventId, index)]),
    ...(same === undefined ? [] : [identityOf('record', source, bucket, key, same)])
  ]
}

const nameSource = ({ type, messageId, topicArn, token }: JobSource) => ({ source: type, messageId, topicArn, token })
