import { connect, createServer, type AddressInfo } from 'node:net'
import { CreateBucketCommand, DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import type { AppError } from '../../../src/errors.ts'
import { createS3Client } from '../../../src/s3/client.ts'
import { createS3Objects } from '../../../src/s3/objects.ts'
import type { Cluster, Credentials } from './cluster.ts'

/** How the service's own S3 client gets on with the gateway: one line for each answer that is not as it should be. */
export async function checkReading (cluster: Cluster, owner: Credentials, stranger: Credentials): Promise<string[]> {
  const wrong: string[] = []
  const reader = (credentials: Credentials, endpoint = cluster.origin) => {
    const client = createS3Client({ region: 'us-east-1', endpoint, credentials })
    return { client, objects: createS3Objects({ client, stallTimeoutMs: 30_000 }) }
  }
  const { client, objects } = reader(owner)
  const bucket = 'ceph-reading'
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'gone', Body: 'x' }))
  const { VersionId: marker = '' } = await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'gone' }))
  const large = Buffer.alloc(8_000_000, 'every byte counts ')
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'large', Body: large }))

  const unknown = reader({ accessKeyId: 'nobody', secretAccessKey: 'x' }).objects
  const liar = reader({ ...owner, secretAccessKey: 'wrong' }).objects
  const other = reader(stranger).objects
  const refusals: Array<[string, () => Promise<unknown>, string]> = [
    ['a missing key', async () => await objects.open({ bucket, key: 'missing' }), 'object_not_found'],
    ['HEAD of a missing key', async () => await objects.head({ bucket, key: 'missing' }), 'object_not_found'],
    ['a delete marker', async () => await objects.open({ bucket, key: 'gone' }), 'object_not_found'],
    ['the version of a delete marker', async () => await objects.open({ bucket, key: 'gone', versionId: marker }), 'object_not_found'],
    ['a missing version', async () => await objects.open({ bucket, key: 'large', versionId: 'missing' }), 'object_not_found'],
    ['a missing bucket', async () => await objects.open({ bucket: 'ceph-missing', key: 'large' }), 'bucket_not_found'],
    ['HeadBucket of a missing bucket', async () => { await objects.probeBucket('ceph-missing') }, 'bucket_not_found'],
    ['an unknown access key', async () => await unknown.open({ bucket, key: 'large' }), 's3_forbidden'],
    ['a wrong secret', async () => await liar.open({ bucket, key: 'large' }), 's3_forbidden'],
    ["a stranger's key", async () => await other.open({ bucket, key: 'large' }), 's3_access_denied'],
    ["a stranger's missing key", async () => await other.open({ bucket, key: 'missing' }), 's3_access_denied'],
    ["HeadBucket by a stranger's", async () => { await other.probeBucket(bucket) }, 's3_access_denied']
  ]
  for (const [what, ask, expected] of refusals) {
    const code = await ask().then(() => 'no error', (error: AppError) => error.code)
    if (code !== expected) wrong.push(`${what}: ${code} instead of ${expected}`)
  }
  await objects.probeBucket(bucket)

  for (const changes of [false, true]) {
    const cut = await startCut(Number(new URL(cluster.origin).port), large.length / 2)
    const { body } = await reader(owner, cut.origin).objects.open({ bucket, key: 'large' })
    if (changes) await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'large', Body: 'other bytes' }))
    const pieces: Buffer[] = []
    let end = 'whole'
    cut.release()
    try {
      for await (const piece of body) pieces.push(Buffer.from(piece as Buffer))
      if (!Buffer.concat(pieces).equals(large)) end = 'other bytes'
    } catch (error) {
      end = (error as AppError).code
    }
    if (cut.connections() < 2) wrong.push('the read was not cut')
    if (end !== (changes ? 'object_changed' : 'whole')) wrong.push(`a read that was cut${changes ? ' while the object changed' : ''}: ${end}`)
    await cut.close()
  }
  return wrong
}

/** A way to the gateway that lets no more than some bytes of the first answer pass, and cuts it when released. */
async function startCut (port: number, atBytes: number) {
  let connections = 0
  const released = Promise.withResolvers<void>()
  const server = createServer(inner => {
    const first = ++connections === 1
    let bytes = 0
    const outer = connect(port, '127.0.0.1')
    inner.pipe(outer)
    outer.on('data', (piece: Buffer) => {
      bytes += piece.length
      inner.write(piece)
      if (!first || bytes < atBytes) return
      outer.pause()
      released.promise.finally(() => { inner.destroy() })
    })
    inner.on('error', () => {}).once('close', () => { outer.destroy() })
    outer.on('error', () => {}).once('close', () => { if (!first) inner.destroy() })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    release: released.resolve,
    async close () { await new Promise(resolve => { server.close(resolve) }) }
  }
}
