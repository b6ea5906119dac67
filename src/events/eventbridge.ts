import { member, memberAt, nameOf, sizeOf, timeOf } from './members.ts'
import { meaningOfDetail, unknownMeaning } from './names.ts'
import type { Reading } from './record.ts'

/** Whether a value is an event as EventBridge sends it, whoever is its source. */
export function isEventBridge (value: unknown): boolean {
  return typeof member(value, 'detail-type') === 'string' && typeof member(value, 'source') === 'string'
}

/** Reads an event of S3 as EventBridge sends it. Its key is literal: decoding would spoil `+` and `%`. */
export function readEventBridge (event: unknown): Reading {
  const eventName = nameOf(member(event, 'detail-type'))
  const object = memberAt(event, 'detail', 'object')
  return {
    source: member(event, 'source') === 'aws.s3' ? 'aws:s3' : undefined,
    eventName,
    bucket: nameOf(memberAt(event, 'detail', 'bucket', 'name')),
    versionId: nameOf(member(object, 'version-id')),
    sequencer: nameOf(member(object, 'sequencer')),
    sizeBytes: sizeOf(member(object, 'size')),
    etag: nameOf(member(object, 'etag'))?.replaceAll('"', ''),
    eventTime: timeOf(member(event, 'time')),
    wireKey: member(object, 'key'),
    keyEncoding: 'literal',
    knownVersion: member(event, 'version') === '0',
    meaning: eventName === undefined ? unknownMeaning : meaningOfDetail(eventName, memberAt(event, 'detail', 'deletion-type'))
  }
}
