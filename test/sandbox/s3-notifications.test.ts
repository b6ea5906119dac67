import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateMultipartUploadCommand, DeleteObjectCommand, DeleteObjectsCommand,
  GetObjectCommand, PutObjectCommand, UploadPartCommand
} from '@aws-sdk/client-s3'
import { createHash } from 'node:crypto'
import t from 'tap'
import { toTopic, toWebhook } from '../../sandbox/s3/notifications/destination.ts'
import { ceph, eventBridge, minio } from '../../sandbox/s3/notifications/event.ts'
import { startS3 } from '../../sandbox/s3/server.ts'
import { bucket, startSandbox, topicArn } from '../../sandbox/sandbox.ts'
import { startEndpoint } from './endpoint.ts'

interface NativeRecord { eventName: string, eventTime: string, s3: { bucket: { name: string }, object: { key: string, size?: number, eTag?: string, versionId?: string, sequencer: string } } }
interface Message { Event?: string, Records: NativeRecord[] }

const clock = { ms: Date.parse('2026-11-23T09:00:17.137Z') }
const s3 = await startS3({ now: () => clock.ms })
t.teardown(async () => { await s3.close() })
const { client, notifications } = s3
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** A bucket of its own, and the messages its changes cause. */
async function watch (name: string, more: object = {}) {
  const messages: Array<{ message: Message, subject: string | undefined }> = []
  await s3.createBucket(name)
  notifications.configure(name, { to: toTopic((message, { subject }) => { messages.push({ message: JSON.parse(message) as Message, subject }) }), ...more })
  const take = async () => {
    await notifications.idle()
    return messages.splice(0).map(({ message }) => message.Records?.[0]).filter(each => each !== undefined)
  }
  const told = async () => (await take()).map(each => `${each.eventName} ${each.s3.object.key}`)
  return { messages, take, told }
}

t.test('a saved configuration is tested, a put is told in Amazon\'s form', async t => {
  const { messages, take } = await watch('forms', { id: 'to-edge' })
  t.match(messages.splice(0), [{ subject: 'Amazon S3 Notification', message: { Service: 'Amazon S3', Event: 's3:TestEvent', Time: '2026-11-23T09:00:17.137Z', Bucket: 'forms', RequestId: String, HostId: String } }])
  await s3.put('forms', 'video/launch.mp4', 'twelve bytes')
  t.same((await take())[0], {
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    awsRegion: 'us-east-1',
    eventTime: '2026-11-23T09:00:17.137Z',
    eventName: 'ObjectCreated:Put',
    userIdentity: { principalId: 'AWS:AIDAEXAMPLESANDBOX' },
    requestParameters: { sourceIPAddress: '127.0.0.1' },
    responseElements: { 'x-amz-request-id': notifications.log[0]?.requestId, 'x-amz-id-2': notifications.log[0]?.hostId },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: 'to-edge',
      bucket: { name: 'forms', ownerIdentity: { principalId: 'A1EXAMPLESANDBOX' }, arn: 'arn:aws:s3:::forms' },
      object: { key: 'video/launch.mp4', size: 12, eTag: md5('twelve bytes'), sequencer: `00${notifications.log[0]?.sequence.toUpperCase()}` }
    }
  })
  t.match(notifications.log[0], { requestId: /^[0-9A-F]{16}$/, sequence: /^[0-9a-f]{16}$/ })
  t.equal(parseInt(notifications.log[0]?.sequence.slice(0, 8) ?? '', 16), Math.floor(clock.ms / 1000))
})

t.test('every way to change an object is told once it is done, and nothing else is', async t => {
  const { take, told } = await watch('ways')
  const at = (key: string) => ({ Bucket: 'ways', Key: key })
  await s3.put('ways', 'plain', 'plain')
  await client.send(new CopyObjectCommand({ ...at('copied'), CopySource: 'ways/plain' }))
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at('parts')))
  const { ETag } = await client.send(new UploadPartCommand({ ...at('parts'), UploadId, PartNumber: 1, Body: 'a part' }))
  await client.send(new CompleteMultipartUploadCommand({ ...at('parts'), UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
  const created = await take()
  t.match(created.map(each => [each.eventName, each.s3.object]), [
    ['ObjectCreated:Put', { key: 'plain', size: 5, eTag: md5('plain'), versionId: undefined }],
    ['ObjectCreated:Copy', { key: 'copied', size: 5, eTag: md5('plain') }],
    ['ObjectCreated:CompleteMultipartUpload', { key: 'parts', size: 6, eTag: /^[0-9a-f]{32}-1$/ }]
  ])
  await client.send(new DeleteObjectsCommand({ Bucket: 'ways', Delete: { Objects: [{ Key: 'copied' }, { Key: 'never there' }, { Key: 'parts' }] } }))
  await s3.delete('ways', 'plain')
  const removed = await take()
  t.same(removed.map(each => each.eventName + ' ' + Object.keys(each.s3.object).join()), Array.from({ length: 3 }, () => 'ObjectRemoved:Delete key,sequencer'))
  t.same(removed.map(each => each.s3.object.key), ['copied', 'parts', 'plain'])

  await s3.delete('ways', 'plain')
  const aborted = await client.send(new CreateMultipartUploadCommand(at('aborted')))
  await client.send(new AbortMultipartUploadCommand({ ...at('aborted'), UploadId: aborted.UploadId }))
  s3.faults.add({ status: 503, times: 1 })
  await t.rejects(s3.put('ways', 'refused', 'x'))
  await t.rejects(client.send(new CopyObjectCommand({ ...at('copied'), CopySource: 'ways/missing' })))
  await t.rejects(s3.put('no-such-bucket', 'x', 'x'), { name: 'NoSuchBucket' })
  await t.rejects(s3.delete('no-such-bucket', 'x'), { name: 'NoSuchBucket' })
  await t.rejects(client.send(new DeleteObjectsCommand({ Bucket: 'no-such-bucket', Delete: { Objects: [{ Key: 'x' }] } })), { name: 'NoSuchBucket' })
  await t.rejects(client.send(new GetObjectCommand(at('plain'))))
  t.same(await told(), [])

  // The SDK signs this body in chunks, so that its length is not the object's.
  await client.send(new PutObjectCommand({ ...at('chunked'), Body: 'chunked', ChecksumAlgorithm: 'CRC32' }))
  s3.putSynthetic('ways', 'film', { sizeBytes: 20_000_000, seed: 1, etag: 'multipart' })
  s3.putSynthetic('ways', 'image', { sizeBytes: 3, seed: 1 })
  await s3.delete('ways', 'film')
  t.match((await take()).map(each => [each.eventName, each.s3.object.key, each.s3.object.size]), [
    ['ObjectCreated:Put', 'chunked', 7],
    ['ObjectCreated:CompleteMultipartUpload', 'film', 20_000_000],
    ['ObjectCreated:Put', 'image', 3],
    ['ObjectRemoved:Delete', 'film', undefined]
  ])
})

t.test('keys are form-encoded but for their slashes, and any form decoder gets them back', async t => {
  const { take } = await watch('keys')
  const cases = { 'red flower.jpg': 'red+flower.jpg', 'a+b': 'a%2Bb', 'd@y/100%': 'd%40y/100%25', 'é日/🎬': '%C3%A9%E6%97%A5/%F0%9F%8E%AC', '~!*()\'': '%7E%21*%28%29%27', '/a//b/': '/a//b/', 'q?x=1&y#z': 'q%3Fx%3D1%26y%23z', '%2F': '%252F' }
  for (const key of Object.keys(cases)) await s3.put('keys', key, 'x')
  const told = (await take()).map(each => each.s3.object.key)
  t.same(told, Object.values(cases))
  t.same(told.map(each => new URLSearchParams(`key=${each}`).get('key')), Object.keys(cases))
})

t.test('sequencers of one key grow, even while the clock stands still', async t => {
  const { take } = await watch('order')
  for (let index = 0; index < 5; index++) await s3.put('order', 'key', String(index))
  clock.ms -= 5000
  await s3.delete('order', 'key')
  clock.ms += 60_000
  await s3.put('order', 'key', 'last')
  const sequencers = (await take()).map(each => each.s3.object.sequencer)
  t.equal(sequencers.length, 7)
  t.ok(sequencers.every(each => /^00[0-9A-F]{16}$/.test(each)))
  t.same(sequencers, [...new Set(sequencers)].sort())
})

t.test('with versioning a delete leaves a marker, and what is removed for good uncovers what was before', async t => {
  const { take } = await watch('versions')
  const at = { Bucket: 'versions', Key: 'docs/a b.txt' }
  const read = async (VersionId?: string) => {
    const answer = await client.send(new GetObjectCommand({ ...at, VersionId }))
    return { text: await answer.Body?.transformToString(), id: answer.VersionId }
  }
  await s3.put('versions', at.Key, 'zero')
  await s3.enableVersioning('versions')
  const one = (await client.send(new PutObjectCommand({ ...at, Body: 'one' }))).VersionId ?? ''
  const two = (await client.send(new PutObjectCommand({ ...at, Body: 'two' }))).VersionId ?? ''
  t.same([await read(), await read(one), await read('null')], [{ text: 'two', id: two }, { text: 'one', id: one }, { text: 'zero', id: 'null' }])
  const marker = await client.send(new DeleteObjectCommand(at))
  t.equal(marker.DeleteMarker, true)
  await t.rejects(read(), { name: 'NoSuchKey' })
  await t.rejects(read(marker.VersionId), { name: 'MethodNotAllowed' })
  await t.rejects(read('unknown'), { name: 'NoSuchVersion' })
  t.match((await take()).map(each => [each.eventName, each.s3.object]), [
    ['ObjectCreated:Put', { versionId: undefined }],
    ['ObjectCreated:Put', { versionId: one }],
    ['ObjectCreated:Put', { versionId: two, size: 3, eTag: md5('two') }],
    ['ObjectRemoved:DeleteMarkerCreated', { versionId: marker.VersionId, eTag: md5(''), size: undefined }]
  ])

  await client.send(new DeleteObjectCommand({ ...at, VersionId: marker.VersionId }))
  t.same(await read(), { text: 'two', id: two })
  await client.send(new DeleteObjectsCommand({ Bucket: 'versions', Delete: { Quiet: true, Objects: [{ Key: at.Key, VersionId: two }, { Key: at.Key, VersionId: 'null' }, { Key: at.Key, VersionId: 'unknown' }] } }))
  t.same(await read(), { text: 'one', id: one })
  await client.send(new CopyObjectCommand({ ...at, CopySource: `versions/docs/a%20b.txt?versionId=${one}`, MetadataDirective: 'REPLACE' }))
  await t.rejects(client.send(new CopyObjectCommand({ ...at, CopySource: `versions/docs/a%20b.txt?versionId=${two}` })), { name: 'NoSuchVersion' })
  await client.send(new DeleteObjectCommand({ ...at, VersionId: one }))
  t.equal((await read()).text, 'one')
  t.match((await take()).map(each => [each.eventName, each.s3.object.versionId]), [
    ['ObjectRemoved:Delete', marker.VersionId], ['ObjectRemoved:Delete', two], ['ObjectRemoved:Delete', 'null'], ['ObjectCreated:Copy', String], ['ObjectRemoved:Delete', one]
  ])
})

t.test('only what a configuration asks for is told', async t => {
  const { told } = await watch('filters', { events: ['s3:ObjectRemoved:Delete', 's3:ObjectCreated:Put'], prefix: 'img/', suffix: '.jpg' })
  for (const key of ['img/a.jpg', 'img/a.png', 'a.jpg']) await s3.put('filters', key, 'x')
  await client.send(new CopyObjectCommand({ Bucket: 'filters', Key: 'img/b.jpg', CopySource: 'filters/img/a.jpg' }))
  await s3.delete('filters', 'img/a.jpg')
  t.same(await told(), ['ObjectCreated:Put img/a.jpg', 'ObjectRemoved:Delete img/a.jpg'])
  notifications.configure('filters')
  await s3.put('filters', 'img/a.jpg', 'x')
  t.same(await told(), [])
})

t.test('events are lost, doubled and overtaken as a rule or chance has it', async t => {
  const { take } = await watch('mishaps')
  const keysAfter = async (kind: string, count: number) => {
    notifications.faults.add({ kind, times: 1, match: { action: 'Notify' } })
    for (let index = 0; index < count; index++) await s3.put('mishaps', String(index), 'x')
    return await take()
  }
  t.same((await keysAfter('lose', 2)).map(each => each.s3.object.key), ['1'])
  const [first, second] = await keysAfter('double', 1)
  t.same(first, second)
  const overtaken = (await keysAfter('hold', 7)).map(each => each.s3.object.key)
  t.not(overtaken[0], '0')
  t.same([...overtaken].sort(), ['0', '1', '2', '3', '4', '5', '6'])
  notifications.chances.double = 1
  t.equal((await keysAfter('none', 3)).length, 6)
  notifications.chances.double = 0
})

t.test('MinIO and Ceph post their own forms until they are heard', async t => {
  let refusals = 1
  const endpoint = await startEndpoint(t, () => refusals-- > 0 ? 503 : 200)
  await s3.createBucket('webhooks')
  const post = async (shape: typeof minio) => {
    endpoint.received.length = 0
    notifications.configure('webhooks', { id: 'hook', to: toWebhook(endpoint.url, shape, { headers: { Authorization: 'Bearer secret' }, retryMs: 1 }) })
    await s3.put('webhooks', 'dir/red flower+1.jpg', 'x')
    await notifications.idle()
    await s3.put('webhooks', 'empty', '')
    await s3.delete('webhooks', 'empty')
    await notifications.idle()
    t.ok(endpoint.received.every(({ headers }) => headers.authorization === 'Bearer secret' && headers['content-type'] === 'application/json'))
    return endpoint.messages() as unknown as Array<Record<string, unknown> & { Records: NativeRecord[] }>
  }
  const byMinio = await post(minio)
  t.equal(byMinio.length, 4, 'the first was sent again')
  t.match(byMinio.find(each => String(each.Key).endsWith('1.jpg')), { EventName: 's3:ObjectCreated:Put', Key: 'webhooks/dir/red flower+1.jpg', Records: [{ eventSource: 'minio:s3', eventName: 's3:ObjectCreated:Put', s3: { object: { key: 'dir%2Fred+flower%2B1.jpg', size: 1, eTag: md5('x'), sequencer: /^[0-9A-F]{16}$/ } } }] })
  t.match(byMinio.filter(each => each.Key === 'webhooks/empty').map(each => each.Records[0]?.s3.object.size), [undefined, undefined])
  const byCeph = await post(ceph)
  t.match(byCeph[0]?.Records, [{ eventSource: 'ceph:s3', eventTime: /^2026-11-23T.*\.\d{6}Z$/, eventName: 'ObjectCreated:Put', s3: { configurationId: 'hook', object: { key: 'dir/red flower+1.jpg', size: 1, versionId: '', metadata: [], tags: [] } } }])
  t.equal(Buffer.from(byCeph[0]?.Records[0]?.s3.object.sequencer ?? '', 'hex').readUInt32LE(0), Math.floor(clock.ms / 1000))
  const byBridge = await post(eventBridge)
  t.match(byBridge.find(each => each['detail-type'] === 'Object Created'), { source: 'aws.s3', time: /:\d\dZ$/, detail: { object: { key: 'dir/red flower+1.jpg', size: 1, etag: md5('x'), sequencer: /^[0-9a-f]{16}$/ }, reason: 'PutObject' } })
  t.match(byBridge.find(each => each['detail-type'] === 'Object Deleted'), { detail: { object: { key: 'empty', size: undefined }, reason: 'DeleteObject', 'deletion-type': 'Permanently Deleted' } })
})

t.test('a change in the sandbox\'s bucket reaches who subscribed to its topic', async t => {
  const sandbox = await startSandbox()
  t.teardown(async () => { await sandbox.close() })
  const endpoint = await startEndpoint(t)
  t.match(sandbox.env, { SNS_TOPIC_ARNS: topicArn, AWS_ENDPOINT_URL_SNS: sandbox.sns.origin })
  const subscription = sandbox.subscribe(new URL(endpoint.url).origin)
  await sandbox.idle()
  await fetch(endpoint.messages()[0]?.SubscribeURL ?? '')
  await subscription.confirmed
  await sandbox.s3.put(bucket, 'hello.txt', 'hello')
  await sandbox.idle()
  const [, message = {}] = endpoint.messages()
  t.match(message, { Type: 'Notification', TopicArn: topicArn, Subject: 'Amazon S3 Notification' })
  t.match(JSON.parse(message.Message ?? ''), { Records: [{ eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key: 'hello.txt', size: 5 } } }] })
})
