import { AppError } from '../../errors.ts'
import { isFolderMarker, type Rule } from '../../mapping.ts'
import type { NetStorageClient } from '../../netstorage/client.ts'
import { releaseChunk } from '../../s3/body.ts'
import type { S3Body, S3Objects } from '../../s3/objects.ts'
import type { ObjectRow } from '../../store/tables.ts'
import type { Lease } from '../lanes/dispatcher.ts'
import type { Work } from '../lanes/lanes.ts'

/** When `stat` is asked after an upload: at once, then after 1, 2, 4 and every 8 seconds. */
const verifyDelaysMs = [0, 1000, 2000, 4000, 8000]

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

/** One copy: which job, by which rule, to which account, over what the ledger says is there. */
export interface Copy {
  work: Work
  rule: Rule
  netstorage: NetStorageClient
  ledger: ObjectRow | undefined
  lease: Lease
  verifyTimeoutMs: number
  /** Writes down that what will lie at the path may be ours: should we die before it is verified, a later delete still knows. */
  markPending: () => Promise<void>
  /** Takes one of the deletes that events may cause; false if the minute's are used up. */
  takeDelete: () => Promise<boolean>
  /** An upload begins: whatever fails from here on, it may arrive with this mtime. */
  onUpload: (mtime: number) => void
  onProgress: (sentBytes: number) => void
}

/** Looks at S3, makes the target equal, and returns only what `stat` has confirmed. */
export async function copyObject (s3: S3Objects, copy: Copy): Promise<Committed> {
  const { work, rule, netstorage, ledger, lease, verifyTimeoutMs, onUpload, onProgress } = copy
  const { bucket, key, cp_code: cpCode, path, version_id: versionId } = work.doer as typeof work.doer & { bucket: string, key: string, cp_code: number, path: string }
  const { signal } = lease
  const open = async () => await s3.open({ bucket, key, signal, ...(versionId === null ? {} : { versionId }) })
  let source: S3Body
  try {
    source = await open()
  } catch (error) {
    if (error instanceof AppError && error.code === 'object_not_found' && work.onMissing === 'delete') return await remove(copy)
    throw error
  }
  try {
    if (isFolderMarker(key, source.sizeBytes)) return { outcome: 'ignored', present: false, detail: 'a folder marker needs no copy' }
    if (path.endsWith('/')) throw new AppError('key_not_mappable', `${key} ends with a slash but is not empty: NetStorage would file it as a directory.`)
    if (source.contentEncoding !== undefined && rule.metadata.contentEncoding === 'refuse') {
      throw new AppError('content_encoding_unsupported', `${key} is stored with Content-Encoding ${source.contentEncoding}, which NetStorage does not keep: viewers would get bytes they cannot read. Store it unencoded, or let the rule ignore it.`)
    }
    if (source.redirect !== undefined && rule.metadata.redirect === 'refuse') {
      throw new AppError('redirect_unsupported', `${key} redirects to ${source.redirect}, which NetStorage cannot do. Move the redirect to the CDN property, or let the rule ignore it.`)
    }
    const same = ledger?.present === true && ledger.bucket === bucket && ledger.key === key && ledger.etag === source.etag && ledger.size_bytes === source.sizeBytes
    // After an upload that nobody saw arrive, stat may still show what was there before it.
    if (same && !work.force && !ledger.pending && !work.interrupted) {
      const seen = await netstorage.stat({ cpCode, path, signal })
      if (seen?.type === 'file' && seen.sizeBytes === ledger.size_bytes && seen.md5 === ledger.md5) {
        return { outcome: 'unchanged', present: true, etag: source.etag, versionId: source.versionId, sizeBytes: ledger.size_bytes, md5: seen.md5 as string, mtime: ledger.mtime }
      }
    }
    const mtime = Math.max(Math.floor(source.lastModified.getTime() / 1000), (ledger?.mtime ?? -1) + 1) + (work.interrupted ? work.doer.attempts - 1 : 0)
    onUpload(mtime)
    const md5 = rule.etagIsMd5 === 'auto' ? source.md5 : undefined
    // A first upload must not arrive before the ledger knows of it; the mark is made while the body is on its way.
    const marked = ledger?.present === true ? Promise.resolve() : copy.markPending()
    marked.catch(() => {})
    const beforeCommit = async (): Promise<void> => {
      await marked
      lease.check()
    }
    const upload = async (from: S3Body, upFront: string | undefined) => await netstorage.upload({
      cpCode, path, body: from.body, release: releaseChunk, sizeBytes: from.sizeBytes, mtime, signal, beforeCommit, onProgress, ...(upFront === undefined ? {} : { md5: upFront })
    })
    let sent
    try {
      sent = await upload(source, md5)
    } catch (error) {
      if (md5 === undefined || !(error instanceof AppError) || error.code !== 'netstorage_digest_refused') throw error
      // The target refused the MD5 we gave up front: once more, hashing what really passes.
      source.body.destroy()
      source = await open()
      sent = await upload(source, undefined)
    }
    await verify({ netstorage, cpCode, path, sizeBytes: source.sizeBytes, md5: sent.md5, timeoutMs: verifyTimeoutMs, signal })
    return { outcome: 'uploaded', present: true, etag: source.etag, versionId: source.versionId, sizeBytes: source.sizeBytes, md5: sent.md5, mtime }
  } finally {
    source.body.destroy()
  }
}

/**
 * Only what the ledger says this very object put there is deleted, and by events no more of it than the brake allows;
 * an operator who released the job has decided otherwise.
 */
async function remove ({ work, rule, netstorage, ledger, lease, takeDelete }: Copy): Promise<Committed> {
  const { bucket, key, cp_code: cpCode, path } = work.doer as typeof work.doer & { cp_code: number, path: string }
  const { signal } = lease
  if (work.deleteByEvents && rule.deletes === 'ignore') return { outcome: 'ignored', present: ledger?.present ?? false, detail: `gone from S3, and rule ${rule.name} ignores deletes` }
  const mtime = ledger === undefined ? {} : { mtime: ledger.mtime }
  const maybeOurs = ledger !== undefined && (ledger.present || ledger.pending)
  if (!maybeOurs || ledger.bucket !== bucket || ledger.key !== key) {
    const seen = await netstorage.stat({ cpCode, path, signal })
    if (seen === undefined) return { outcome: 'unchanged', present: false, detail: 'gone from S3, and NetStorage holds nothing there', ...mtime }
    const owner = maybeOurs ? `is the copy of ${ledger.bucket}/${ledger.key}` : 'was not put there by this service'
    if (!work.released) throw new Held('target_not_ours', `S3 holds no ${key}, but ${path} on NetStorage ${owner}: nothing is deleted until the job is released.`)
  } else if (work.deleteByEvents && !await takeDelete()) {
    throw new Held('delete_limit', `S3 holds no ${key}, but events have caused as many deletes within a minute as DELETE_LIMIT_PER_MINUTE allows: nothing is deleted until the job is released.`)
  }
  lease.check()
  const found = await netstorage.delete({ cpCode, path, signal })
  if (found === 'absent' && ledger?.present !== true) return { outcome: 'unchanged', present: false, detail: 'gone from S3, and NetStorage holds nothing there', ...mtime }
  return { outcome: 'deleted', present: false, ...mtime }
}

/** Polls `stat` until it shows the size and MD5 that were sent. */
async function verify ({ netstorage, cpCode, path, sizeBytes, md5, timeoutMs, signal }: { netstorage: NetStorageClient, cpCode: number, path: string, sizeBytes: number, md5: string, timeoutMs: number, signal: AbortSignal }): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (let attempt = 0; ; attempt++) {
    const seen = await netstorage.stat({ cpCode, path, signal })
    if (seen?.type === 'file' && seen.sizeBytes === sizeBytes && seen.md5 === md5) return
    const waitMs = verifyDelaysMs[Math.min(attempt + 1, verifyDelaysMs.length - 1)] as number
    if (performance.now() + waitMs > deadline) {
      const shows = seen === undefined ? 'nothing' : `${seen.sizeBytes} bytes with MD5 ${seen.md5}`
      throw new AppError('verification_failed', `NetStorage acknowledged ${path}, but stat shows ${shows} instead of ${sizeBytes} bytes with MD5 ${md5}. Nothing is purged; the upload is tried again.`)
    }
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => { signal.removeEventListener('abort', onAbort); resolve() }, waitMs)
      const onAbort = () => { clearTimeout(timer); reject(signal.reason) }
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}
