import t from 'tap'
import type { EventRecord } from '../../src/events/record.ts'
import { canonicalSequencer, compareSequencers, markRepeats, orderOf } from '../../src/events/sequencer.ts'
import index from '../fixtures/s3-events/index.json' with { type: 'json' }

t.test('sequencers are compared as numbers, whatever their length and case', async (t) => {
  for (const { a, b, expected, why } of index.sequencerCompare) {
    t.equal(compareSequencers(a, b), expected, why)
    t.equal(compareSequencers(b, a), expected === 0 ? 0 : -expected, `${why}, the other way round`)
  }
  t.equal(compareSequencers('0', '00'), 0)
})

t.test('what is no sequencer orders nothing', async (t) => {
  for (const bad of ['', 'xyz', '0x1', ' 1', '1\n', '-1', 'a'.repeat(65)]) {
    t.equal(compareSequencers(bad, '1'), undefined, JSON.stringify(bad))
    t.equal(compareSequencers('1', bad), undefined, JSON.stringify(bad))
    t.equal(canonicalSequencer(bad), undefined)
  }
})

t.test('the sequencer of RGW orders nothing, those of S3 and MinIO do', async (t) => {
  t.equal(orderOf({ source: 'ceph:s3', sequencer: 'B70A046B537BD921' }), undefined)
  t.equal(orderOf({ source: 'aws:s3', sequencer: '006B0400A09E3779B1' }), '6b0400a09e3779b1')
  t.equal(orderOf({ source: 'minio:s3', sequencer: '18EAA3297A4E7451' }), '18eaa3297a4e7451')
  t.equal(orderOf({ source: 'aws:s3' }), undefined)
})

t.test('repeats and stale records are marked for their own object only', async (t) => {
  const put = (key: string, sequencer: string | undefined, more: Partial<EventRecord> = {}): EventRecord =>
    ({ action: 'upload', source: 'aws:s3', bucket: 'assets', key, ...(sequencer === undefined ? {} : { sequencer }), ...more })
  const marks = (...records: EventRecord[]) => markRepeats(records).map(({ duplicateOf, staleAgainst }) => duplicateOf !== undefined ? `= ${duplicateOf}` : staleAgainst !== undefined ? `< ${staleAgainst}` : '')
  t.same(marks(put('a', '1'), put('a', '3'), put('a', '2'), put('a', '03'), put('b', '1')), ['< 1', '', '< 1', '= 1', ''])
  t.same(marks(put('a', '1'), put('a', undefined), put('a', 'zz')), ['', '', ''])
  t.same(marks(put('a', '1'), put('a', '2', { action: 'ignore' }), put('a', '3', { bucket: 'others' }), put('a', '4', { source: 'minio:s3' })), ['', '', '', ''])
  t.same(marks(put('__proto__', '1'), put('__proto__', '2')), ['< 1', ''])
  t.same(marks(put('a', 'FF', { source: 'ceph:s3' }), put('a', 'EE', { source: 'ceph:s3' })), ['', ''])
})
