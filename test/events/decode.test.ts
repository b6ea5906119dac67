import t from 'tap'
import { decodeEvents, decodeEventText } from '../../src/events/decode.ts'
import { eventSources } from '../../src/events/names.ts'

const options = { buckets: ['assets'], sources: eventSources }

/** A record of S3's form, with what a case changes. */
const record = ({ object = {}, ...rest }: Record<string, unknown> = {}) => ({
  eventVersion: '2.1',
  eventSource: 'aws:s3',
  eventName: 'ObjectCreated:Put',
  eventTime: '2026-11-23T09:00:19.567Z',
  s3: { bucket: { name: 'assets' }, object: { key: 'a', size: 1, sequencer: '0A', ...object as object } },
  ...rest
})

const bridged = ({ object = {}, detail = {}, ...rest }: Record<string, unknown> = {}) => ({
  version: '0',
  id: '6f279582',
  'detail-type': 'Object Created',
  source: 'aws.s3',
  time: '2026-11-23T09:57:00Z',
  detail: { bucket: { name: 'assets' }, object: { key: 'a', size: 1, sequencer: '0a', ...object as object }, ...detail as object },
  ...rest
})

const first = (...changes: Parameters<typeof record>) => decodeEvents({ Records: [record(...changes)] }, options).records[0]
const firstBridged = (...changes: Parameters<typeof bridged>) => decodeEvents(bridged(...changes), options).records[0]

t.test('a record tells what happened to which object, and nothing that was not sent', async (t) => {
  t.strictSame(first({ object: { eTag: '"abc"', versionId: 'null' } }), {
    action: 'upload',
    source: 'aws:s3',
    eventName: 'ObjectCreated:Put',
    bucket: 'assets',
    versionId: 'null',
    sequencer: '0A',
    sizeBytes: 1,
    etag: 'abc',
    eventTime: new Date('2026-11-23T09:00:19.567Z'),
    key: 'a'
  })
  t.strictSame(decodeEvents(bridged(), options), {
    transport: 'eventbridge',
    eventId: '6f279582',
    records: [{ action: 'upload', source: 'aws:s3', eventName: 'Object Created', bucket: 'assets', sequencer: '0a', sizeBytes: 1, eventTime: new Date('2026-11-23T09:57:00Z'), key: 'a' }]
  })
  t.notOk('eventId' in decodeEvents(bridged({ id: 5 }), options))
})

t.test('only senders that are believed are obeyed, and by default that is S3 alone', async (t) => {
  for (const eventSource of ['minio:s3', 'ceph:s3']) {
    const { records } = decodeEvents({ Records: [record({ eventSource })] }, { buckets: ['assets'] })
    t.match(records[0], { action: 'reject', reason: 'source_not_allowed', source: eventSource, eventAction: 'upload' })
    t.match(first({ eventSource }), { action: 'upload' })
  }
  t.match(decodeEvents({ Records: [record()] }, { buckets: ['assets'] }).records[0], { action: 'upload' })
  t.match(decodeEvents(bridged(), { buckets: ['assets'], sources: ['minio:s3'] }).records[0], { action: 'reject', reason: 'source_not_allowed' })
  t.match(firstBridged({ source: 'aws.s3.evil' }), { action: 'reject', reason: 'unknown_source' })
})

t.test('an envelope of another version is refused', async (t) => {
  for (const eventVersion of ['3.0', '1.9', '2', '2.', '2.x', ' 2.1', 2.1, null, undefined]) t.match(first({ eventVersion }), { action: 'reject', reason: 'unknown_event_version' })
  for (const eventVersion of ['2.0', '2.6', '2.42']) t.match(first({ eventVersion }), { action: 'upload' })
  t.match(firstBridged({ version: '1' }), { action: 'reject', reason: 'unknown_event_version' })
})

t.test('names are matched whole', async (t) => {
  for (const eventName of ['ObjectCreated', 'ObjectCreated:', 'ObjectCreated:*', 'objectcreated:put', 'ObjectCreated:Put ', 's3:s3:ObjectCreated:Put', 'ObjectCreated:PutTagging', 'constructor', '__proto__']) {
    t.match(first({ eventName }), { action: 'ignore', reason: 'unknown_event', warn: true }, eventName)
  }
  t.match(first({ eventName: 's3:ObjectCreated:Put' }), { action: 'upload' })
  for (const eventName of [undefined, '', 5, 'a\nb']) t.match(first({ eventName }), { action: 'reject', reason: 'event_name_missing' })
  t.match(firstBridged({ 'detail-type': 'Object Painted' }), { action: 'ignore', reason: 'unknown_event', warn: true })
  t.match(firstBridged({ 'detail-type': '' }), { action: 'reject', reason: 'event_name_missing' })
})

t.test('what each sender adds is known', async (t) => {
  const table: Array<[string, string, string, boolean]> = [
    ['minio:s3', 's3:ObjectRemoved:DeleteAllVersions', 'delete', true],
    ['minio:s3', 's3:ObjectTransition:Complete', 'ignore', false],
    ['ceph:s3', 'ObjectLifecycle:Expiration:Noncurrent', 'delete', true],
    ['ceph:s3', 'ObjectLifecycle:Expiration:AbortMPU', 'ignore', false],
    ['ceph:s3', 'ObjectSynced:Create', 'upload', true],
    ['ceph:s3', 'Replication:Delete', 'delete', true],
    ['aws:s3', 'Replication:OperationNotTracked', 'ignore', false]
  ]
  for (const [eventSource, eventName, action, head] of table) {
    const found = first({ eventSource, eventName })
    t.equal(found?.action, action, eventName)
    t.equal(found?.needsHead ?? false, head, eventName)
    t.notOk(found?.warn, eventName)
  }
})

t.test('a delete of one version is a hint only, and a delete marker is not', async (t) => {
  t.match(firstBridged({ 'detail-type': 'Object Deleted', object: { 'version-id': 'v1' } }), { action: 'delete', needsHead: true })
  const hidden = firstBridged({ 'detail-type': 'Object Deleted', detail: { 'deletion-type': 'Delete Marker Created', object: { key: 'a', sequencer: '0a', 'version-id': 'v1' } } })
  const gone = firstBridged({ 'detail-type': 'Object Deleted' })
  for (const each of [hidden, gone]) {
    t.equal(each?.action, 'delete')
    t.notOk('needsHead' in (each ?? {}))
  }
})

t.test('no file has a name that ends in a slash', async (t) => {
  t.match(first({ object: { key: 'a/', size: 0 } }), { action: 'ignore', reason: 'folder_marker', eventAction: 'upload' })
  t.match(first({ object: { key: 'a/', size: 7 } }), { action: 'reject', reason: 'trailing_slash' })
  t.match(first({ object: { key: 'a/', size: undefined } }), { action: 'reject', reason: 'trailing_slash' })
  t.match(first({ object: { key: 'a/', size: undefined }, eventSource: 'minio:s3' }), { action: 'ignore', reason: 'folder_marker' })
  t.match(first({ object: { key: 'a/', size: undefined }, eventName: 'ObjectRemoved:Delete' }), { action: 'ignore', reason: 'folder_marker', eventAction: 'delete' })
})

t.test('a restored object under a bad key wakes nobody', async (t) => {
  t.match(first({ eventName: 'ObjectRestore:Completed' }), { action: 'ignore', restoreCompleted: true })
  t.notOk(first({ eventName: 'ObjectRestore:Completed', object: { key: '../a' } })?.restoreCompleted)
  t.notOk(first({ eventName: 'ObjectRestore:Completed', s3: { bucket: { name: 'others' }, object: { key: 'a' } } })?.restoreCompleted)
})

t.test('what is malformed besides the key counts as not sent', async (t) => {
  const found = first({ eventTime: 'yesterday', object: { size: '1e3', eTag: 5, versionId: '', sequencer: 'xyz' } })
  t.match(found, { action: 'upload', needsHead: true, sequencer: 'xyz' })
  for (const name of ['eventTime', 'sizeBytes', 'etag', 'versionId']) t.notOk(Object.hasOwn(found ?? {}, name), name)
  for (const size of [-1, 1.5, 2 ** 53, '007', '99999999999999999', true, {}]) t.notOk('sizeBytes' in (first({ object: { size } }) ?? {}), JSON.stringify(size))
  t.equal(first({ object: { size: '9007199254740991' } })?.sizeBytes, Number.MAX_SAFE_INTEGER)
  t.same(first({ eventTime: '2026-11-23T09:00:19.567901Z' })?.eventTime, new Date('2026-11-23T09:00:19.567Z'))
  t.notOk('eventTime' in (first({ eventTime: '2026-13-45T09:00:19Z' }) ?? {}))
})

t.test('a lone surrogate in a literal key is refused, for it has no bytes', async (t) => {
  t.match(firstBridged({ object: { key: 'a\ud800' } }), { action: 'reject', reason: 'key_not_decodable' })
  t.match(first({ object: { key: 'a\ud800' } }), { action: 'reject', reason: 'key_not_decodable' })
})

t.test('nothing in a message can make it throw', async (t) => {
  const nasty: unknown[] = [undefined, null, 0, Number.NaN, '', 'x'.repeat(5000), true, [], [[]], {}, { length: 1 }, { toString: null }, { __proto__: null }, JSON.parse('{"__proto__": {"Records": []}}'), '\ud800', '%']
  for (const value of nasty) {
    t.type(decodeEvents(value, options).message?.reason, 'string')
    t.match(decodeEvents({ Records: [value, record()] }, options).records.map(({ action }) => action), ['reject', 'upload'])
    for (const name of Object.keys(record())) decodeEvents({ Records: [record({ [name]: value })] }, options)
    for (const name of ['key', 'size', 'eTag', 'versionId', 'sequencer']) decodeEvents({ Records: [record({ object: { [name]: value } })] }, options)
    for (const name of Object.keys(bridged())) decodeEvents(bridged({ [name]: value }), options)
  }
  t.match(decodeEventText(Buffer.from([0xff]), options).message, { action: 'reject', reason: 'not_utf8' })
  t.match(decodeEventText('\ufeff{}', options).message, { action: 'reject', reason: 'not_json' })
  t.match(decodeEventText('['.repeat(200_000), options).message, { reason: 'not_json' })
  t.match(decodeEventText(`{"Records":[${'['.repeat(100_000)}${']'.repeat(100_000)}]}`, options).records, [{ action: 'reject' }])
})

t.test('members of a prototype are no members', async (t) => {
  t.match(decodeEvents(Object.create({ Records: [record()] }), options).message, { reason: 'not_an_event' })
})
