import { member, memberAt, nameOf, sizeOf, timeOf } from './members.ts'
import { eventSources, meaningOf, unknownMeaning } from './names.ts'
import type { Reading } from './record.ts'

/**
 * Reads a record of the form that S3 has given its notifications, and MinIO and Ceph after it. Members that came later are
 * left alone, as S3's guide asks: the same major version, a minor one not too small. Only Ceph writes keys as they are.
 */
export function readNative (record: unknown): Reading {
  const source = eventSources.find((each) => each === member(record, 'eventSource'))
  const eventName = nameOf(member(record, 'eventName'))
  const object = memberAt(record, 's3', 'object')
  return {
    source,
    eventName,
    bucket: nameOf(memberAt(record, 's3', 'bucket', 'name')),
    versionId: nameOf(member(object, 'versionId')),
    sequencer: nameOf(member(object, 'sequencer')),
    sizeBytes: sizeOf(member(object, 'size')),
    etag: nameOf(member(object, 'eTag'))?.replaceAll('"', ''),
    eventTime: timeOf(member(record, 'eventTime')),
    wireKey: member(object, 'key'),
    keyEncoding: source === 'ceph:s3' ? 'literal' : 'form',
    knownVersion: /^2\.[0-9]{1,3}$/.test(nameOf(member(record, 'eventVersion')) ?? ''),
    meaning: source === undefined || eventName === undefined ? unknownMeaning : meaningOf(source, eventName)
  }
}
