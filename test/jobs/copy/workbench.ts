import { startNetStorage } from '../../../sandbox/netstorage/server.ts'
import { startS3 } from '../../../sandbox/s3/server.ts'
import { syntheticHashes } from '../../../sandbox/s3/synthetic.ts'
import { copyObject, type Committed, type Copy } from '../../../src/jobs/copy/copy-object.ts'
import type { Work } from '../../../src/jobs/lanes/lanes.ts'
import { createNetStorageClient } from '../../../src/netstorage/client.ts'
import { createS3Client } from '../../../src/s3/client.ts'
import { createS3Objects } from '../../../src/s3/objects.ts'
import type { ObjectRow } from '../../../src/store/tables.ts'
import { testConfig } from '../../app.ts'

export const bucket = 'example-assets'
const cpCode = 123456
const account = { keyName: 'upload', key: 'a-key', cpCodes: [cpCode] }

/** How an object of the tests differs from others: by seed and size, and by whether its ETag is its MD5. */
export interface Made { seed: number, sizeBytes: number, etag: 'md5' | 'multipart' }

/** Real servers with faults, and the copy between them without a queue: what lies where is the ledger of the test's own. */
export async function startWorkbench (t: { teardown: (fn: () => Promise<void>) => void }, { stallTimeoutMs = 30_000 } = {}) {
  const s3 = await startS3()
  await s3.createBucket(bucket)
  const netstorage = await startNetStorage({ accounts: [account] })
  const s3Client = createS3Client({ region: 'us-east-1', endpoint: s3.origin, credentials: { accessKeyId: 'sandbox-access-key', secretAccessKey: 'sandbox-secret-key' } })
  const objects = createS3Objects({ client: s3Client, stallTimeoutMs })
  const client = createNetStorageClient({ hostname: netstorage.origin, ...account, stallTimeoutMs })
  t.teardown(async () => {
    client.close()
    s3Client.destroy()
    await s3.close()
    await netstorage.close()
  })
  const rule = testConfig().rules.current().rules[0] as Copy['rule']
  const ledgers = new Map<string, ObjectRow>()

  /** One attempt, as a worker makes it. */
  async function copy (key: string, more: Partial<Omit<Copy, 'work'>> & { work?: Partial<Work> } = {}): Promise<Committed> {
    const doer = { bucket, key, cp_code: cpCode, path: key, version_id: null, attempts: 1 } as Work['doer']
    const { work, ...rest } = more
    const before = ledgers.get(key)
    let mtime = 0
    const mark = (row: Partial<ObjectRow>) => ledgers.set(key, { lane: key, target: 'default', cp_code: cpCode, path: key, bucket, key, present: false, pending: false, etag: null, version_id: null, size_bytes: null, md5: null, mtime: 0, committed_at: new Date(), job_id: '', ...before, ...row })
    try {
      const done = await copyObject(objects, {
        work: { doer, jobIds: [], kind: 'sync', force: false, onMissing: 'fail', deleteByEvents: false, released: false, interrupted: false, wishes: [], ...work },
        rule,
        netstorage: client,
        ledger: before,
        lease: { signal: new AbortController().signal, check () {} },
        verifyTimeoutMs: 4500,
        digest: 'trailer',
        minRewriteMs: 0,
        isExpress: false,
        now: () => new Date(),
        takeSlot: async () => {},
        markPending: async () => { mark({ pending: true }) },
        takeDelete: async () => true,
        onUpload (value) { mtime = value },
        onProgress () {},
        ...rest
      })
      if (done.outcome === 'uploaded') mark({ present: true, pending: false, committed_at: new Date(), etag: done.etag as string, size_bytes: done.sizeBytes as number, md5: done.md5 as string, mtime: done.mtime as number })
      if (done.outcome === 'deleted') mark({ present: false, pending: false, committed_at: new Date() })
      return done
    } catch (error) {
      if (mtime > 0) mark({ pending: true, mtime })
      throw error
    }
  }

  return {
    s3,
    objects,
    netstorage,
    client,
    rule,
    copy,
    put: (key: string, made: Made) => { s3.putSynthetic(bucket, key, made) },
    /** What lies on NetStorage, as the seed of it; undefined = nothing, or something else. */
    lies (key: string, ...known: Made[]): number | undefined {
      const found = netstorage.store.get(`/${cpCode}/${key}`)
      return known.find(({ seed, sizeBytes }) => syntheticHashes(seed, sizeBytes).md5 === found?.md5)?.seed
    },
    stored: (key: string) => netstorage.store.get(`/${cpCode}/${key}`),
    /** The requests for one key, by action and status. */
    asked: (key: string, action: string) => netstorage.log.filter(each => each.name === `/${cpCode}/${key}` && each.action === action),
    read: (key: string) => s3.log.filter(each => each.key === key && each.method === 'GET'),
    at: (key: string) => `/${cpCode}/${key}`
  }
}
