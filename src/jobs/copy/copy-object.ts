import { createHash } from 'node:crypto'
import { AppError } from '../../errors.ts'
import { isFolderMarker, type Rule } from '../../mapping.ts'
import type { NetStorageClient } from '../../netstorage/client.ts'
import { releaseChunk } from '../../s3/body.ts'
import type { S3Body, S3Objects } from '../../s3/objects.ts'
import type { ObjectRow } from '../../store/tables.ts'
import type { Lease } from '../lanes/dispatcher.ts'
import { largePriority } from '../lanes/fetch.ts'
import type { Work } from '../lanes/lanes.ts'
import { removeObject } from './remove-object.ts'
import { verify } from './verify.ts'

/** What an express slot takes: a large object would hold up those that came last. */
const expressBytes = 1024 * 1024

/** What the target holds now, seen by `stat` or known to be gone. */
export interface Committed {
  outcome: 'uploaded' | 'deleted' | 'unchanged' | 'ignored'
  present: boolean
  etag?: string
  versionId?: string | undefined
  sizeBytes?: number
  md5?: string
  mtime?: number
  /** Why nothing was done, where that is not plain. */
  detail?: string
}

/** Held rather than failed: an operator must decide. */
export class Held extends AppError {}

/** Nothing failed, but now is not the time: the job goes back to the queue, without an attempt less. */
export class PutOff extends Error {
  override readonly name = 'PutOff'
  readonly waitMs: number
  readonly priority: number | undefined
  constructor (reason: string, { waitMs = 0, priority }: { waitMs?: number, priority?: number }) {
    super(reason)
    this.waitMs = waitMs
    this.priority = priority
  }
}

/** One copy: which job, by which rule, to which account, over what the ledger says is there. */
export interface Copy {
  work: Work
  rule: Rule
  netstorage: NetStorageClient
  ledger: ObjectRow | undefined
  lease: Lease
  verifyTimeoutMs: number
  /** Where the MD5 is not known: hash on the way and sign it in a trailer, or read the object once more before. */
  digest: 'trailer' | 'prehash'
  /** Least time between two uploads to one path. */
  minRewriteMs: number
  /** Only a small object may be copied now. */
  isExpress: boolean
  now: () => Date
  /** Resolves once one more object may be uploaded; throws PutOff if that takes too long, or the signal's reason. */
  takeSlot: () => Promise<void>
  /** Writes down that what will lie at the path may be ours: should we die before it is verified, a later delete still knows. */
  markPending: () => Promise<void>
  /** Takes one of the deletes that events may cause; false if the minute's are used up. */
  takeDelete: () => Promise<boolean>
  /** The last bytes of an upload leave: whatever fails from here on, it may arrive with this mtime. */
  onUpload: (mtime: number) => void
  onProgress: (sentBytes: number) => void
}

/** Looks at S3, makes the target equal, and returns only what `stat` has confirmed. Throws PutOff, Held, or what failed. */
export async function copyObject (s3: S3Objects, copy: Copy): Promise<Committed> {
  const { work, netstorage, ledger, lease: { signal }, verifyTimeoutMs, markPending, takeSlot } = copy
  const { bucket, key, version_id: versionId, cp_code: cpCode, path } = work.doer as Doer
  const open = async () => await s3.open({ bucket, key, signal, ...(versionId === null ? {} : { versionId }) })
  let source: S3Body
  try {
    source = await open()
  } catch (error) {
    if (error instanceof AppError && error.code === 'object_not_found' && work.onMissing === 'delete') return await removeObject(copy)
    throw error
  }
  /** The same object from its beginning; its bytes were read, or nobody wants them. */
  const reopen = async (): Promise<S3Body> => {
    const { etag } = source
    source.body.destroy()
    source = await open()
    if (source.etag !== etag) throw new AppError('object_changed', `${key} changed while it was read; it is tried again.`)
    return source
  }
  try {
    if (isFolderMarker(key, source.sizeBytes)) return { outcome: 'ignored', present: false, detail: 'a folder marker needs no copy' }
    checkKeepable(copy, source)
    const { etag, versionId, sizeBytes } = source
    const seen = { present: true, etag, versionId, sizeBytes }
    if (await isThere(copy, source)) return { outcome: 'unchanged', ...seen, md5: ledger?.md5 as string, mtime: ledger?.mtime as number }
    checkTime(copy, source)
    // A first upload must not arrive before the ledger knows of it.
    if (ledger?.present !== true) await markPending()
    await takeSlot()
    const mtime = Math.max(Math.floor(source.lastModified.getTime() / 1000), (ledger?.mtime ?? -1) + 1) + (work.interrupted ? work.doer.attempts - 1 : 0)
    const md5 = await upload(copy, mtime, source, reopen)
    await verify({ netstorage, cpCode, path, sizeBytes, md5, timeoutMs: verifyTimeoutMs, signal })
    return { outcome: 'uploaded', ...seen, md5, mtime }
  } finally {
    source.body.destroy()
  }
}

type Doer = Work['doer'] & { bucket: string, key: string, cp_code: number, path: string }

/** Uploads with the MD5 up front where it is known, else with a signed trailer; returns the MD5. */
async function upload ({ work, rule, netstorage, lease, digest, onUpload, onProgress }: Copy, mtime: number, source: S3Body, reopen: () => Promise<S3Body>): Promise<string> {
  const { cp_code: cpCode, path } = work.doer as Doer
  const beforeCommit = (): void => {
    lease.check()
    onUpload(mtime)
  }
  const send = async ({ body, sizeBytes }: S3Body, md5: string | undefined) =>
    (await netstorage.upload({ cpCode, path, body, release: releaseChunk, sizeBytes, mtime, signal: lease.signal, beforeCommit, onProgress, ...(md5 === undefined ? {} : { md5 }) })).md5
  const known = rule.etagIsMd5 === 'auto' ? source.md5 : undefined
  const md5 = known ?? (digest === 'prehash' ? await hash(source) : undefined)
  try {
    return await send(md5 === known ? source : await reopen(), md5)
  } catch (error) {
    if (md5 === undefined || !(error instanceof AppError) || error.code !== 'netstorage_digest_refused') throw error
    // The target refused the MD5 we gave up front: once more, hashing what really passes.
    return await send(await reopen(), undefined)
  }
}

async function hash ({ body }: S3Body): Promise<string> {
  const md5 = createHash('md5')
  for await (const chunk of body as AsyncIterable<Buffer>) {
    md5.update(chunk)
    releaseChunk(chunk)
  }
  return md5.digest('hex')
}

/** Throws where viewers would not get what the object is. */
function checkKeepable ({ work, rule: { metadata } }: Copy, { contentEncoding, redirect }: S3Body): void {
  const { key, path } = work.doer as Doer
  if (path.endsWith('/')) throw new AppError('key_not_mappable', `${key} ends with a slash but is not empty: NetStorage would file it as a directory.`)
  if (contentEncoding !== undefined && metadata.contentEncoding === 'refuse') {
    throw new AppError('content_encoding_unsupported', `${key} is stored with Content-Encoding ${contentEncoding}, which NetStorage does not keep: viewers would get bytes they cannot read. Store it unencoded, or let the rule ignore it.`)
  }
  if (redirect !== undefined && metadata.redirect === 'refuse') {
    throw new AppError('redirect_unsupported', `${key} redirects to ${redirect}, which NetStorage cannot do. Move the redirect to the CDN property, or let the rule ignore it.`)
  }
}

/** Whether the target holds these bytes already: the ledger says so, and `stat` confirms it. */
async function isThere ({ work, netstorage, ledger, lease: { signal } }: Copy, { etag, sizeBytes }: S3Body): Promise<boolean> {
  const { bucket, key, cp_code: cpCode, path } = work.doer as Doer
  const same = ledger?.present === true && ledger.bucket === bucket && ledger.key === key && ledger.etag === etag && ledger.size_bytes === sizeBytes
  // After an upload that nobody saw arrive, stat may still show what was there before it.
  if (!same || work.force || ledger.pending || work.interrupted) return false
  const seen = await netstorage.stat({ cpCode, path, signal })
  return seen?.type === 'file' && seen.sizeBytes === ledger.size_bytes && seen.md5 === ledger.md5
}

/** Throws PutOff where an upload must wait: for the replicas to settle after the last one or a delete, or for a slot that takes large objects. */
function checkTime ({ ledger, minRewriteMs, isExpress, now }: Copy, { sizeBytes }: S3Body): void {
  // A delete in between brings two uploads no further apart; a first one that nobody saw arrive has no time yet.
  const isKnown = ledger !== undefined && (ledger.present || !ledger.pending)
  const waitMs = isKnown ? Math.min(minRewriteMs, ledger.committed_at.getTime() + minRewriteMs - now().getTime()) : 0
  if (waitMs > 0) throw new PutOff(`the last upload to this path was less than ${minRewriteMs / 1000} s ago`, { waitMs })
  if (isExpress && sizeBytes > expressBytes) throw new PutOff('too large for an express slot', { priority: largePriority })
}
