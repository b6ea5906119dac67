import { createHash } from 'node:crypto'
import { GetObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { cpCode, type startSandbox } from '../../../sandbox/sandbox.ts'

type Sandbox = Awaited<ReturnType<typeof startSandbox>>

/** Compares what NetStorage holds with what the buckets hold: one line for each difference, of keys or bytes. */
export async function compare (client: S3Client, buckets: string[], { netstorage: { store } }: Sandbox, isLeftOut: (key: string) => boolean): Promise<string[]> {
  const root = `/${cpCode}/`
  const differences: string[] = []
  const there = new Set(store.names(root))
  for (const bucket of buckets) {
    let token: string | undefined
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, ContinuationToken: token }))
      token = page.NextContinuationToken
      for (const key of (page.Contents ?? []).map(({ Key = '' }) => Key).filter(each => !isLeftOut(each))) {
        const stored = store.get(root + key)
        there.delete(root + key)
        const bytes = await (await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }))).Body?.transformToByteArray()
        if (stored?.sha256 !== createHash('sha256').update(bytes ?? '').digest('hex')) differences.push(`${JSON.stringify(key)} ${stored === undefined ? 'is missing' : 'has other bytes'}`)
      }
    } while (token !== undefined)
  }
  return [...differences, ...[...there].map(name => `${JSON.stringify(name)} is too much`)]
}
