import { CompleteMultipartUploadCommand, CopyObjectCommand, CreateMultipartUploadCommand, DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand, UploadPartCommand, type S3Client } from '@aws-sdk/client-s3'

/** Keys that somebody's decoder would spoil, all of which can be paths. */
export const oddKeys = [
  'sp ace', 'pl+us', 'per%20cent', '100%', 'ünï/日本.txt', 'ünï'.normalize('NFD'), '😀', 'trailing  ', ' leading', 'q?s#f&a=b;c', '"quoted" \'twice\' <x>', 'back\\slash', 'dots.../..x',
  Array.from({ length: 4 }, () => 'long'.repeat(50)).join('/')
]
/** Keys that must not become paths. */
export const unmappableKeys = ['a/../b', 'tab\there', 'a//b']

/**
 * What is done to a bucket, by a client of the gateway. Several objects are never deleted by one request: Debian's build of
 * release 16 crashes by it wherever a topic is told.
 */
export function createChanges (client: S3Client, bucket: string) {
  const put = async (key: string, body: string | Buffer): Promise<void> => {
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: Buffer.from(body), Metadata: { team: 'web' } }))
  }
  const remove = async (key: string, versionId?: string): Promise<string | undefined> => (await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, ...(versionId === undefined ? {} : { VersionId: versionId }) }))).VersionId
  return {
    put,
    remove,
    copy: async (from: string, key: string) => { await client.send(new CopyObjectCommand({ Bucket: bucket, Key: key, CopySource: `${bucket}/${encodeURIComponent(from)}` })) },
    keepVersions: async () => { await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } })) },
    async putParts (key: string, bodies: Buffer[]): Promise<void> {
      const upload = { Bucket: bucket, Key: key, UploadId: (await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }))).UploadId }
      const parts = []
      for (const [index, body] of bodies.entries()) {
        const part = { PartNumber: index + 1 }
        parts.push({ ...part, ETag: (await client.send(new UploadPartCommand({ ...upload, ...part, Body: body }))).ETag })
      }
      await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }))
    }
  }
}
