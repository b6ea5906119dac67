/** A change of one key, before a notifier gives it its shape. */
export interface ObjectEvent {
  name: 'ObjectCreated:Put' | 'ObjectCreated:Copy' | 'ObjectCreated:CompleteMultipartUpload' | 'ObjectRemoved:Delete' | 'ObjectRemoved:DeleteMarkerCreated'
  bucket: string
  /** Literal. */
  key: string
  /** When S3 was done, epoch milliseconds. */
  atMs: number
  /** Absent on deletes. */
  sizeBytes?: number
  /** Without quotes; absent on deletes. */
  etag?: string
  versionId?: string
  /** 16 hex digits that grow: 8 of epoch seconds, 8 of their fraction. */
  sequence: string
  /** The same when the event is sent twice. */
  id: string
  requestId: string
  hostId: string
}

/** How somebody's S3 writes an event. */
export type Shape = (event: ObjectEvent, configurationId: string) => object

const etagOfNothing = 'd41d8cd98f00b204e9800998ecf8427e'
const isCreated = ({ name }: ObjectEvent): boolean => name.startsWith('ObjectCreated:')
const isMarker = ({ name }: ObjectEvent): boolean => name === 'ObjectRemoved:DeleteMarkerCreated'
const version = (name: string, value: string | undefined): object => value === undefined ? {} : { [name]: value }
const time = ({ atMs }: ObjectEvent): string => new Date(atMs).toISOString()

/** Form encoding: a space becomes `+`, and all but letters, digits and `-._` is escaped. */
function formEncoded (key: string, bare: RegExp): string {
  return encodeURIComponent(key).replace(/[!'()*~]/g, found => `%${found.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll('%20', '+').replace(bare, decodeURIComponent)
}

/** Amazon's own form: the key form-encoded but for its slashes. */
export const native: Shape = (event, configurationId) => {
  const { name, bucket, key, sizeBytes, etag, versionId, sequence, requestId, hostId } = event
  return {
    Records: [{
      eventVersion: '2.1',
      eventSource: 'aws:s3',
      awsRegion: 'us-east-1',
      eventTime: time(event),
      eventName: name,
      userIdentity: { principalId: 'AWS:AIDAEXAMPLESANDBOX' },
      requestParameters: { sourceIPAddress: '127.0.0.1' },
      responseElements: { 'x-amz-request-id': requestId, 'x-amz-id-2': hostId },
      s3: {
        s3SchemaVersion: '1.0',
        configurationId,
        bucket: { name: bucket, ownerIdentity: { principalId: 'A1EXAMPLESANDBOX' }, arn: `arn:aws:s3:::${bucket}` },
        object: {
          key: formEncoded(key, /%2F|%2A/g),
          ...(isCreated(event) ? { size: sizeBytes, eTag: etag } : isMarker(event) ? { eTag: etagOfNothing } : {}),
          ...version('versionId', versionId),
          sequencer: `00${sequence.toUpperCase()}`
        }
      }
    }]
  }
}

const reasons: Record<ObjectEvent['name'], string> = {
  'ObjectCreated:Put': 'PutObject',
  'ObjectCreated:Copy': 'CopyObject',
  'ObjectCreated:CompleteMultipartUpload': 'CompleteMultipartUpload',
  'ObjectRemoved:Delete': 'DeleteObject',
  'ObjectRemoved:DeleteMarkerCreated': 'DeleteObject'
}

/** As EventBridge passes it on: the key literal, the sequencer without its first two zeros. */
export const eventBridge: Shape = event => {
  const { name, bucket, key, sizeBytes, etag, versionId, sequence, id, requestId } = event
  return {
    version: '0',
    id,
    'detail-type': isCreated(event) ? 'Object Created' : 'Object Deleted',
    source: 'aws.s3',
    account: '123456789012',
    time: time(event).replace(/\.\d+/, ''),
    region: 'us-east-1',
    resources: [`arn:aws:s3:::${bucket}`],
    detail: {
      version: '0',
      bucket: { name: bucket },
      object: {
        key,
        ...(isCreated(event) ? { size: sizeBytes, etag } : isMarker(event) ? { etag: etagOfNothing } : {}),
        ...version('version-id', versionId),
        sequencer: sequence
      },
      'request-id': requestId,
      requester: '123456789012',
      'source-ip-address': '127.0.0.1',
      reason: reasons[name],
      ...(isCreated(event) ? {} : { 'deletion-type': isMarker(event) ? 'Delete Marker Created' : 'Permanently Deleted' })
    }
  }
}

/** Seconds and nanoseconds of a sequence. */
function clockOf ({ sequence }: ObjectEvent): { seconds: bigint, nanos: bigint } {
  return { seconds: BigInt(`0x${sequence.slice(0, 8)}`), nanos: BigInt(`0x${sequence.slice(8)}`) * 1_000_000_000n >> 32n }
}

/** MinIO's webhook: `Key` literal, but in the record form-encoded with its slashes; no size where it is 0. */
export const minio: Shape = event => {
  const { name, bucket, key, sizeBytes = 0, etag, versionId, requestId, hostId } = event
  const { seconds, nanos } = clockOf(event)
  const created = { ...(sizeBytes === 0 ? {} : { size: sizeBytes }), eTag: etag, contentType: 'application/octet-stream', userMetadata: { 'content-type': 'application/octet-stream' } }
  return {
    EventName: `s3:${name}`,
    Key: `${bucket}/${key}`,
    Records: [{
      eventVersion: '2.0',
      eventSource: 'minio:s3',
      awsRegion: '',
      eventTime: time(event),
      eventName: `s3:${name}`,
      userIdentity: { principalId: 'sandbox' },
      requestParameters: { principalId: 'sandbox', region: '', sourceIPAddress: '127.0.0.1' },
      responseElements: { 'x-amz-id-2': hostId, 'x-amz-request-id': requestId, 'x-minio-deployment-id': '6c1d9a34-0f52-4c1b-8a55-3f0d5c2b7e11', 'x-minio-origin-endpoint': 'http://127.0.0.1:9000' },
      s3: {
        s3SchemaVersion: '1.0',
        configurationId: 'Config',
        bucket: { name: bucket, ownerIdentity: { principalId: 'sandbox' }, arn: `arn:aws:s3:::${bucket}` },
        object: {
          key: formEncoded(key, /%7E/g),
          ...(isCreated(event) ? created : {}),
          ...version('versionId', versionId),
          sequencer: (seconds * 1_000_000_000n + nanos).toString(16).toUpperCase()
        }
      },
      source: { host: '127.0.0.1', port: '', userAgent: 'MinIO (linux; amd64) sandbox/1.0' }
    }]
  }
}

/** Ceph RGW's push: the key literal, no member left out, a sequencer that cannot be ordered. */
export const ceph: Shape = (event, configurationId) => {
  const { name, bucket, key, sizeBytes = 0, etag = '', versionId = '', requestId } = event
  const { seconds, nanos } = clockOf(event)
  const sequencer = Buffer.alloc(8)
  sequencer.writeUInt32LE(Number(seconds), 0)
  sequencer.writeUInt32LE(Number(nanos), 4)
  return {
    Records: [{
      eventVersion: '2.2',
      eventSource: 'ceph:s3',
      awsRegion: 'default',
      eventTime: time(event).replace('Z', '000Z'),
      eventName: name,
      userIdentity: { principalId: 'sandbox' },
      requestParameters: { sourceIPAddress: '' },
      responseElements: { 'x-amz-request-id': `tx${requestId}`, 'x-amz-id-2': '14d2-default-default' },
      s3: {
        s3SchemaVersion: '1.0',
        configurationId,
        bucket: { name: bucket, ownerIdentity: { principalId: 'sandbox' }, arn: `arn:aws:s3:default::${bucket}`, id: '9762c126-1f3e-d9f3-5afd-976eb3068167.5332.38' },
        object: { key, size: sizeBytes, eTag: etag, versionId, sequencer: sequencer.toString('hex').toUpperCase(), metadata: [], tags: [] }
      },
      eventId: `${seconds}.${String(nanos / 1000n).padStart(6, '0')}.${etag}`,
      opaqueData: ''
    }]
  }
}
