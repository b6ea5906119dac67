import t from 'tap'
import { explain, type Reason } from '../../../src/jobs/whereabouts/explain.ts'
import type { OwedPurge, Place } from '../../../src/jobs/whereabouts/find.ts'
import type { JobRow, ObjectRow } from '../../../src/store/tables.ts'

const moment = new Date('2026-11-24T09:30:00Z')
const later = new Date('2026-11-24T09:31:00Z')
const job = (changes: Partial<JobRow>) => ({ id: 'j1', kind: 'sync', bucket: 'assets', target: 'main', state: 'queued', merged_into: null, error: null, attempts: 1, created_at: moment, retried_at: null, next_attempt_at: null, uploaded_at: null, finished_at: null, sent_bytes: null, ...changes }) as JobRow
const ledger = (changes: Partial<ObjectRow> = {}) => ({ job_id: 'j0', present: true, pending: false, size_bytes: 5, etag: 'e', committed_at: moment, ...changes }) as ObjectRow
const debt = (changes: Partial<OwedPurge>) => ({ edgegrid: 'default', repeat: false, due_at: null, ...changes }) as OwedPurge
const error = { detail: 'It broke.' } as NonNullable<JobRow['error']>
const place = (changes: Partial<Place>): Place => ({ lane: 'l', jobs: [], owed: [], purges: [], ...changes })

const cases: Array<[string, Place, Record<string, string>, Array<Reason['code']>, RegExp]> = [
  ['nothing', place({}), {}, ['never_copied'], /not yet seen it.*Nothing was copied/],
  ['all is well', place({ ledger: ledger() }), {}, [], /^NetStorage holds it since 2026-11-24T09:30:00Z: 5 bytes, as S3 held them then \(ETag e\)\.$/],
  ['deleted', place({ ledger: ledger({ present: false }) }), {}, [], /was gone from S3, and was deleted on NetStorage at 2026/],
  ['its turn has not come', place({ jobs: [job({})] }), {}, ['queued'], /waits for its turn since 2026-11-24T09:30:00Z\.$/],
  ['tried again', place({ jobs: [job({ next_attempt_at: later, error })] }), {}, ['retrying'], /tried again at 2026-11-24T09:31:00Z\. The last attempt failed: It broke\./],
  ['S3 is paused', place({ jobs: [job({})] }), { 's3:assets': 'S3 said no.' }, ['paused'], /reading from assets is paused: S3 said no\./],
  ['NetStorage is paused', place({ jobs: [job({})] }), { 'netstorage:main': 'It said no.', 's3:other': '' }, ['paused'], /the target main is paused: It said no\./],
  ['being copied', place({ ledger: ledger(), jobs: [job({ state: 'uploading', sent_bytes: 7 })] }), {}, ['uploading'], /holds it since.*being copied, attempt 1, 7 bytes so far/],
  ['settling', place({ ledger: ledger(), jobs: [job({ state: 'settling', uploaded_at: later })], owed: [debt({ due_at: later })] }), {}, ['settling'], /verified since 2026-11-24T09:31:00Z/],
  ['held back', place({ ledger: ledger(), jobs: [job({ state: 'settling', uploaded_at: moment, next_attempt_at: later })], owed: [debt({ due_at: later })] }), {}, ['purge_due'], /PURGE_CPCODE_LIMIT_PER_HOUR.*next at 2026-11-24T09:31:00Z/],
  ['purging', place({ ledger: ledger(), jobs: [job({ state: 'purging', error })] }), { 'edgegrid:default': 'No.' }, ['purging'], /being asked\. The last attempt failed: It broke\. Purging is paused: No\./],
  ['held', place({ ledger: ledger(), jobs: [job({ state: 'held', error })] }), {}, ['held'], /until an operator releases/],
  ['one rides along with another', place({ jobs: [job({ id: 'j2' }), job({ merged_into: 'j2' })] }), {}, ['queued'], /turn/],
  ['failed, and tried again', place({ jobs: [job({ id: 'j2' }), job({ state: 'failed', finished_at: later, error })] }), {}, ['queued'], /turn/],
  ['failed after a copy', place({ ledger: ledger(), jobs: [job({ state: 'failed', finished_at: later, error })] }), {}, ['failed'], /The last sync failed: It broke\. Retry it/],
  ['failed before a copy', place({ ledger: ledger({ committed_at: later }), jobs: [job({ state: 'failed', finished_at: moment, error })] }), {}, [], /holds it/],
  ['its own purge failed', place({ ledger: ledger({ job_id: 'j1', committed_at: later }), jobs: [job({ state: 'failed', finished_at: later, error })] }), {}, ['failed'], /It broke/],
  ['cancelled', place({ ledger: ledger(), jobs: [job({ state: 'cancelled', finished_at: later })] }), {}, [], /holds it/],
  ['an upload that nobody saw', place({ ledger: ledger({ pending: true }) }), {}, ['unseen'], /nobody saw arrive/],
  ['owed, not asked for', place({ ledger: ledger(), owed: [debt({}), debt({})] }), {}, ['purge_not_asked'], /2 purges are owed that nobody asked for/],
  ['due', place({ ledger: ledger(), owed: [debt({ due_at: later })] }), {}, ['purge_due'], /One purge is due from 2026-11-24T09:31:00Z/],
  ['due, and paused', place({ ledger: ledger(), owed: [debt({ due_at: later })] }), { 'edgegrid:default': 'No.' }, ['paused'], /purging is paused: No\./],
  ['only the second purge', place({ ledger: ledger(), owed: [debt({ due_at: later, repeat: true })], purges: [{ accepted_at: moment } as Place['purges'][0]] }), {}, [], /the edge was told at 2026-11-24T09:30:00Z\. A second purge.* follows at 2026-11-24T09:31:00Z/]
]

t.test('why an object is not live yet is said in plain words and by a code', async t => {
  for (const [name, given, pauses, codes, words] of cases) {
    const { live, summary, reasons } = explain(given, new Map(Object.entries(pauses)))
    t.same(reasons.map(reason => reason.code), codes, name)
    t.equal(live, codes.length === 0, name)
    t.match(summary, words, name)
  }
})
