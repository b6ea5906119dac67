import type { EventRecord } from './record.ts'

/**
 * The one form of a hex sequencer: lower case, without leading zeros, so that the native form of an event (18 digits) and
 * that of EventBridge (16) are equal. Of two, the longer is the greater; of one length, the text decides. `undefined` for
 * what is no sequencer.
 */
export function canonicalSequencer (text: string): string | undefined {
  return /^[0-9a-f]{1,64}$/i.test(text) ? text.toLowerCase().replace(/^0+/, '') : undefined
}

/**
 * Which of two events of one object came first: -1, 0 or 1; `undefined` where one of them is no sequencer. It says nothing
 * of different objects or different senders.
 */
export function compareSequencers (a: string, b: string): -1 | 0 | 1 | undefined {
  const [x, y] = [canonicalSequencer(a), canonicalSequencer(b)]
  if (x === undefined || y === undefined) return undefined
  if (x === y) return 0
  return x.length < y.length || (x.length === y.length && x < y) ? -1 : 1
}

/** The sequencer of a record as far as it orders anything: RGW's is a time with its bytes turned round. */
export function orderOf ({ source, sequencer }: Pick<EventRecord, 'source' | 'sequencer'>): string | undefined {
  return source === 'ceph:s3' || sequencer === undefined ? undefined : canonicalSequencer(sequencer)
}

/** Marks the records of one message that a later event of the same object makes needless, and the repeats. */
export function markRepeats (records: readonly EventRecord[]): EventRecord[] {
  const newest = new Map<string, { index: number, order: string }>()
  const ordered = records.map((record) => record.action === 'upload' || record.action === 'delete' ? orderOf(record) : undefined)
  const nameOf = ({ source, bucket, key }: EventRecord) => JSON.stringify([source, bucket, key])
  ordered.forEach((order, index) => {
    const name = nameOf(records[index] as EventRecord)
    const best = newest.get(name)
    if (order !== undefined && (best === undefined || compareSequencers(order, best.order) === 1)) newest.set(name, { index, order })
  })
  return records.map((record, index) => {
    const best = newest.get(nameOf(record))
    const order = ordered[index]
    if (best === undefined || order === undefined || best.index === index) return record
    return order === best.order ? { ...record, duplicateOf: best.index } : { ...record, staleAgainst: best.index }
  })
}
