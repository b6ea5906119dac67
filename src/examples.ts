/** What requests and answers look like: shown in `openapi.yaml` and `/docs`, and held to their schemas by a test. */

const id = '019a2b7c-f0ea-733e-b2cc-499eb9104510'
const object = { bucket: 'example-assets', key: 'css/site.css' }
const purged = { purgeId: 'eiup-LLsfmPwv0zkx001ZG9OPHg', supportId: '17PY1495402073772656-268530848', acceptedAt: '2026-11-24T09:30:07.112Z' }
const url = 'https://www.example.com/css/site.css'

export const jobExample = {
  id,
  kind: 'sync',
  state: 'succeeded',
  outcome: 'uploaded',
  ...object,
  rule: 'web',
  target: 'main',
  cpCode: 123456,
  path: 'web/css/site.css',
  source: { type: 'rest', token: 'ci' },
  labels: ['release-42'],
  attempts: 1,
  etag: '9bb58f26192e4ba00f01e2e7b136bbd8',
  sizeBytes: 5120,
  sentBytes: 5120,
  md5: '9bb58f26192e4ba00f01e2e7b136bbd8',
  purge: { by: 'url', action: 'invalidate', network: 'production', objects: [url], requests: [{ ...purged, count: 1 }], purgeId: purged.purgeId, acceptedAt: purged.acceptedAt, expectedLiveAt: '2026-11-24T09:30:12.112Z' },
  links: { self: `/jobs/${id}` },
  createdAt: '2026-11-24T09:30:00.514Z',
  startedAt: '2026-11-24T09:30:00.520Z',
  uploadedAt: '2026-11-24T09:30:01.017Z',
  purgedAt: '2026-11-24T09:30:07.112Z',
  finishedAt: '2026-11-24T09:30:07.112Z',
  timeline: [
    { at: '2026-11-24T09:30:00.514Z', step: 'queued', detail: 'stored, from rest' },
    { at: '2026-11-24T09:30:00.520Z', step: 'uploading', detail: 'attempt 1' },
    { at: '2026-11-24T09:30:01.017Z', step: 'uploaded', detail: 'verified on NetStorage' },
    { at: '2026-11-24T09:30:07.112Z', step: 'succeeded', detail: 'every purge is accepted' }
  ]
}

export const problemExample = {
  type: 'about:blank',
  title: 'The bucket is not one this service copies from',
  status: 403,
  detail: 'The bucket other is not in S3_BUCKETS or the rules (example-assets).',
  code: 'bucket_not_allowed',
  instance: 'urn:request:5b3c6a0e-0f0c-4d1c-9a52-2c1f6f0f0a51'
}

export const objectExample = {
  ...object,
  target: 'main',
  cpCode: 123456,
  path: 'web/css/site.css',
  live: false,
  summary: 'NetStorage holds it since 2026-11-24T09:30:01Z: 5120 bytes, as S3 held them then (ETag 9bb58f26192e4ba00f01e2e7b136bbd8). One purge is owed that nobody asked for yet, so the edge may still show what was there before: call /purge or /sync.',
  reasons: [{ code: 'purge_not_asked', detail: 'One purge is owed that nobody asked for yet, so the edge may still show what was there before: call /purge or /sync.' }],
  present: true,
  etag: '9bb58f26192e4ba00f01e2e7b136bbd8',
  versionId: 'null',
  sizeBytes: 5120,
  md5: '9bb58f26192e4ba00f01e2e7b136bbd8',
  mtime: '2026-11-24T09:29:58.000Z',
  committedAt: '2026-11-24T09:30:01.017Z',
  jobId: id,
  purges: [{ object: url, type: 'url', network: 'production', action: 'invalidate', ...purged, acceptedAt: '2026-11-23T17:02:11.340Z' }],
  owed: [{ object: url, type: 'url', network: 'production', action: 'invalidate', repeat: false }]
}

export const purgeExample = { id: '019a2b7d-0b48-7a11-9c3e-5d2f8a4b6c70', type: 'url', action: 'invalidate', network: 'production', edgegrid: 'default', objects: [url], count: 1, ...purged, jobIds: [id] }
export const syncExamples = [object, { ...object, force: true, onMissing: 'delete', purge: { network: 'staging' }, labels: ['release-42'] }]
export const uploadExamples = [{ ...object, versionId: '3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY' }]
export const purgeExamples = [object, { urls: [url] }, { cpCodes: [654321], network: 'staging' }, { tags: ['news'], action: 'delete' }]
export const retryExamples = [{ filter: { prefix: 'css/', since: '2026-11-24T09:00:00Z' }, dryRun: true }]
export const eventsExamples = [{ Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: { bucket: { name: object.bucket }, object: { key: object.key, sequencer: '0055AED6DCD90281E5' } } }] }]
