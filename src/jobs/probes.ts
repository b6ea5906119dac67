import { AppError } from '../errors.ts'
import type { NetStorageClient } from '../netstorage/client.ts'
import type { S3Objects } from '../s3/objects.ts'
import type { Store } from '../store/store.ts'

/** What a neutral question showed of credentials: `unknown` where nothing neutral can be asked. */
export type Verdict = 'fine' | 'refused' | 'unknown'

/** The neutral questions that tell refused credentials from a refused object. */
export interface Probes {
  /** Whether the bucket as a whole can be read. */
  s3: (bucket: string) => Promise<Verdict>
  /** Whether the upload account may look at its own CP code. */
  netstorage: (target: string) => Promise<Verdict>
}

export interface ProbesOptions {
  store: Store
  s3: S3Objects
  targets: ReadonlyMap<string, NetStorageClient>
  /** A CP code of the account. */
  cpCodeOf: (target: string) => number | undefined
}

/** Asks S3 and NetStorage what does not depend on any one object. */
export function createProbes ({ store, s3, targets, cpCodeOf }: ProbesOptions): Probes {
  return {
    async s3 (bucket) {
      if (!await isRefused(async () => { await s3.probeBucket(bucket) })) return 'fine'
      // Without s3:ListBucket the bucket looks refused while its objects are not: one that could be read once tells.
      const known = await store.kysely.selectFrom('objects').select('key').where('bucket', '=', bucket).where('present', '=', true).limit(1).executeTakeFirst()
      const waiting = known ?? await store.kysely.selectFrom('jobs').select('key').where('bucket', '=', bucket).where('state', 'in', ['queued', 'uploading']).limit(1).executeTakeFirst()
      if (waiting?.key === undefined || waiting.key === null) return 'unknown'
      const code = await s3.head({ bucket, key: waiting.key }).then(() => undefined, (error: unknown) => error instanceof AppError ? error.code : undefined)
      if (code === 's3_access_denied') return known === undefined ? 'unknown' : 'refused'
      return code === 's3_forbidden' ? 'refused' : 'fine'
    },
    async netstorage (target) {
      const cpCode = cpCodeOf(target)
      const client = targets.get(target)
      if (client === undefined || cpCode === undefined) return 'unknown'
      return await isRefused(async () => await client.stat({ cpCode, path: '' })) ? 'refused' : 'fine'
    }
  }
}

/** Whether a question is refused for its credentials; any other failure says nothing about them. */
export async function isRefused (question: () => Promise<unknown>): Promise<boolean> {
  try {
    await question()
    return false
  } catch (error) {
    return error instanceof AppError && error.credentials
  }
}
