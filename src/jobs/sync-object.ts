import { sql } from 'kysely'
import { AppError, toAppError, toProblem } from '../errors.ts'
import { isFolderMarker, purgeObjects, type Rule } from '../mapping.ts'
import type { NetStorageClient } from '../netstorage/client.ts'
import type { S3Body, S3Objects } from '../s3/objects.ts'
import type { Store, Tx } from '../store/store.ts'
import type { ObjectRow, PurgeReport } from '../store/tables.ts'
import { callIn, owe } from './debts.ts'
import type { Lease } from './dispatcher.ts'
import { step } from './job.ts'
import { advance, claim, LeaseLost, release, requeue, stop, type WakeUp, type Work } from './lanes.ts'
import type { Pauses } from './pauses.ts'

/** When `stat` is asked after an upload: at once, then after 1, 2, 4 and every 8 seconds. */
const verifyDelaysMs = [0, 1000, 2000, 4000, 8000]
const progressMs = 500

export interface SyncOptions {
  store: Store
  s3: S3Objects
  /** NetStorage clients by the name of their target. */
  targets: ReadonlyMap<string, NetStorageClient>
  rules: () => readonly Rule[]
  pauses: Pauses
  now: () => Date
  purgeDelayMs: number
  purgeRepeat: boolean
  verifyTimeoutMs: number
  retryMs: number
  log: { info: (fields: object, message: string) => void, warn: (fields: object, message: string) => void }
  /** Called when a copy ended, with what it did. */
  onDone: (done: { kind: string, outcome: string, count: number, bytes: number, ms: number }) => void
}

/** What the target holds now, seen by `stat` or known to be gone. */
interface Committed {
  outcome: 'uploaded' | 'deleted' | 'unchanged' | 'ignored'
  present: boolean
  etag?: string
  versionId?: string | undefined
  sizeBytes?: number
  md5?: string
  mtime?: number
}

/** Held rather than failed: an operator must decide. */
class Held extends AppError {}

/**
 * Makes one NetStorage path equal to what S3 holds now: the straight line. A job is only a hint where to look, so a
 * repeat does no harm; what is owed to the edge is written in the transaction that says the copy is verified.
 */
export function createSyncObject (options: SyncOptions) {
  const { store, s3, targets, rules, pauses, now, log } = options

  return async function syncObject (wakeUp: WakeUp, target: string, lease: Lease): Promise<void> {
    const startedAt = performance.now()
    const netstorage = targets.get(target)
    const found = await store.withTx(async tx => {
      const work = await claim(tx, wakeUp.lane, now())
      if (work === undefined) await release(store.boss, tx, wakeUp, target)
      const ledger = await tx.kysely.selectFrom('objects').selectAll().where('lane', '=', wakeUp.lane).executeTakeFirst()
      return { work, ledger }
    })
    const { work, ledger } = found
    if (work === undefined) return
    try {
      const rule = rules().find(each => each.name === work.doer.rule)
      if (netstorage === undefined || rule === undefined) throw new AppError('no_rule', `The rule "${work.doer.rule}" or the target "${target}" is no longer configured.`)
      const done = await copy(work, rule, netstorage, ledger, lease)
      await store.withTx(async tx => { await settle(tx, wakeUp, work, rule, target, done) })
      const fields = { jobId: work.doer.id, key: work.doer.key, outcome: done.outcome, sizeBytes: done.sizeBytes, attempt: work.doer.attempts, ms: Math.round(performance.now() - startedAt) }
      log.info(fields, done.outcome)
      options.onDone({ kind: work.kind, outcome: done.outcome, count: work.jobIds.length, bytes: done.outcome === 'uploaded' ? done.sizeBytes ?? 0 : 0, ms: fields.ms })
    } catch (error) {
      await fail(error, work, wakeUp, target, netstorage, lease)
    }
  }

  /** Looks at S3, makes the target equal, and returns only what `stat` has confirmed. */
  async function copy (work: Work, rule: Rule, netstorage: NetStorageClient, ledger: ObjectRow | undefined, lease: Lease): Promise<Committed> {
    const { bucket, key, cp_code: cpCode, path, version_id: versionId } = work.doer as typeof work.doer & { bucket: string, key: string, cp_code: number, path: string }
    const { signal } = lease
    const open = async () => await s3.open({ bucket, key, signal, ...(versionId === null ? {} : { versionId }) })
    let source: S3Body
    try {
      source = await open()
    } catch (error) {
      if (error instanceof AppError && error.code === 'object_not_found' && work.onMissing === 'delete') return await remove(bucket, key, cpCode, path, netstorage, ledger, lease)
      throw error
    }
    try {
      if (isFolderMarker(key, source.sizeBytes)) return { outcome: 'ignored', present: false }
      if (path.endsWith('/')) throw new AppError('key_not_mappable', `${key} ends with a slash but is not empty: NetStorage would file it as a directory.`)
      if (source.contentEncoding !== undefined && rule.metadata.contentEncoding === 'refuse') {
        throw new AppError('content_encoding_unsupported', `${key} is stored with Content-Encoding ${source.contentEncoding}, which NetStorage does not keep: viewers would get bytes they cannot read. Store it unencoded, or let the rule ignore it.`)
      }
      if (source.redirect !== undefined && rule.metadata.redirect === 'refuse') {
        throw new AppError('redirect_unsupported', `${key} redirects to ${source.redirect}, which NetStorage cannot do. Move the redirect to the CDN property, or let the rule ignore it.`)
      }
      const same = ledger?.present === true && ledger.bucket === bucket && ledger.key === key && ledger.etag === source.etag && ledger.size_bytes === source.sizeBytes
      if (same && !work.force) {
        const seen = await netstorage.stat({ cpCode, path, signal })
        if (seen?.type === 'file' && seen.sizeBytes === ledger.size_bytes && seen.md5 === ledger.md5) {
          return { outcome: 'unchanged', present: true, etag: source.etag, versionId: source.versionId, sizeBytes: ledger.size_bytes, md5: seen.md5 as string, mtime: ledger.mtime }
        }
      }
      const mtime = Math.max(Math.floor(source.lastModified.getTime() / 1000), (ledger?.mtime ?? -1) + 1)
      const md5 = rule.etagIsMd5 === 'auto' ? source.md5 : undefined
      const upload = async (from: S3Body, upFront: string | undefined) => await netstorage.upload({
        cpCode, path, body: from.body, sizeBytes: from.sizeBytes, mtime, signal, beforeCommit: lease.check, onProgress: progress(work), ...(upFront === undefined ? {} : { md5: upFront })
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
      await verify(netstorage, cpCode, path, source.sizeBytes, sent.md5, signal)
      return { outcome: 'uploaded', present: true, etag: source.etag, versionId: source.versionId, sizeBytes: source.sizeBytes, md5: sent.md5, mtime }
    } finally {
      source.body.destroy()
    }
  }

  /** Only what the ledger says this very object put there is deleted. */
  async function remove (bucket: string, key: string, cpCode: number, path: string, netstorage: NetStorageClient, ledger: ObjectRow | undefined, lease: Lease): Promise<Committed> {
    if (ledger?.present !== true) {
      const seen = await netstorage.stat({ cpCode, path, signal: lease.signal })
      if (seen !== undefined) throw new Held('target_not_ours', `S3 holds no ${key}, but ${path} on NetStorage was not put there by this service: nothing is deleted.`)
      return { outcome: 'unchanged', present: false, ...(ledger === undefined ? {} : { mtime: ledger.mtime }) }
    }
    if (ledger.bucket !== bucket || ledger.key !== key) throw new Held('target_not_ours', `${path} on NetStorage is the copy of ${ledger.bucket}/${ledger.key}: nothing is deleted.`)
    lease.check()
    await netstorage.delete({ cpCode, path, signal: lease.signal })
    return { outcome: 'deleted', present: false, mtime: ledger.mtime }
  }

  /** Polls `stat` until it shows the size and MD5 that were sent. */
  async function verify (netstorage: NetStorageClient, cpCode: number, path: string, sizeBytes: number, md5: string, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + options.verifyTimeoutMs
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

  /** Writes how far an upload has come, at most twice a second, behind the bytes and never in their way. */
  function progress (work: Work): (sentBytes: number) => void {
    let last = performance.now()
    let writing = false
    return sentBytes => {
      if (writing || performance.now() - last < progressMs) return
      last = performance.now()
      writing = true
      store.kysely.updateTable('jobs').set({ sent_bytes: sentBytes }).where('id', 'in', work.jobIds).where('state', '=', 'uploading').execute()
        .catch(() => {})
        .finally(() => { writing = false })
    }
  }

  /** The one transaction after a verified copy: ledger, debt, jobs and wake-up, or none of them. */
  async function settle (tx: Tx, wakeUp: WakeUp, work: Work, rule: Rule, target: string, done: Committed): Promise<void> {
    const at = now()
    const { doer } = work
    const changed = done.outcome === 'uploaded' || done.outcome === 'deleted'
    if (changed) {
      const row = {
        target,
        cp_code: doer.cp_code as number,
        path: doer.path as string,
        bucket: doer.bucket as string,
        key: doer.key as string,
        present: done.present,
        etag: done.etag ?? null,
        version_id: done.versionId ?? null,
        size_bytes: done.sizeBytes ?? null,
        md5: done.md5 ?? null,
        mtime: done.mtime ?? 0,
        committed_at: at,
        job_id: doer.id
      }
      await tx.kysely.insertInto('objects').values({ lane: wakeUp.lane, ...row }).onConflict(conflict => conflict.column('lane').doUpdateSet(row)).execute()
    }
    const settledAt = changed ? new Date(at.getTime() + options.purgeDelayMs) : at
    const wants = work.kind === 'sync' && done.outcome !== 'ignored'
    // An upload owes what its rule says, though nobody has asked for the purge yet.
    const wishes = wants ? work.wishes : done.outcome === 'uploaded' ? [{}] : []
    let report: PurgeReport | undefined
    for (const wish of wishes) {
      const plan = purgeObjects(rule, doer.key as string, wish)
      if (plan.by === 'none' || plan.objects.length === 0) continue
      const action = done.outcome === 'deleted' && plan.by === 'url' ? 'delete' : plan.action
      report ??= { by: plan.by, action, network: plan.network, objects: [], requests: [] }
      report.objects = [...new Set([...report.objects, ...plan.objects])]
      await owe(tx, {
        lane: wakeUp.lane,
        edgegrid: plan.edgegrid,
        network: plan.network,
        type: plan.by,
        action,
        objects: plan.objects,
        dueAt: wants ? settledAt : null,
        settledAt,
        committedAt: at,
        repeat: changed && options.purgeRepeat,
        jobIds: wants ? work.jobIds : []
      })
    }
    const owed = wants && report !== undefined ? await callIn(tx, wakeUp.lane, at, work.jobIds) : 0
    const words = { uploaded: 'verified on NetStorage', deleted: 'deleted on NetStorage', unchanged: 'NetStorage holds these bytes already', ignored: 'a folder marker needs no copy' }[done.outcome]
    const outcome = done.outcome === 'unchanged' && owed > 0 ? 'purged' : done.outcome
    const over = owed === 0
    await advance(tx, doer.id, sql`
      state = ${over ? 'succeeded' : 'settling'}, outcome = case when id = ${doer.id} then ${outcome}::text else 'merged' end,
      error = null, next_attempt_at = null,
      etag = ${done.etag ?? null}::text, size_bytes = ${done.sizeBytes ?? null}::bigint, md5 = ${done.md5 ?? null}::text,
      sent_bytes = ${done.outcome === 'uploaded' ? done.sizeBytes : null}::bigint,
      purge = ${over || report === undefined ? null : JSON.stringify(report)}::jsonb,
      uploaded_at = ${changed ? at : null}::timestamptz, finished_at = ${over ? at : null}::timestamptz,
      timeline = timeline || ${step(at, done.outcome, words)}::jsonb || ${over ? '[]' : step(at, 'settling', `the purge follows at ${settledAt.toISOString()}`)}::jsonb`)
    await release(store.boss, tx, wakeUp, target)
  }

  /** Decides what a failure means: a pause of the target, another attempt, or the end. */
  async function fail (error: unknown, work: Work, wakeUp: WakeUp, target: string, netstorage: NetStorageClient | undefined, lease: Lease): Promise<void> {
    if (error instanceof LeaseLost || lease.signal.reason instanceof LeaseLost) throw error
    const stopping = lease.signal.aborted
    const known = toAppError(error)
    const problem = toProblem(known)
    const pause = known.credentials && netstorage !== undefined ? await findPause(known, work, target, netstorage) : undefined
    const at = now()
    const delayMs = Math.max(1000 * Math.min(900, 2 ** (work.doer.attempts - 1)) * (0.75 + Math.random() / 2), (known.retryAfterSeconds ?? 0) * 1000)
    const mayRetry = known.retryable && at.getTime() + delayMs - work.doer.created_at.getTime() < options.retryMs
    await store.withTx(async tx => {
      if (stopping) await requeue(tx, work, at, null, undefined, false)
      else if (pause !== undefined) {
        await pauses.pause(tx, pause, known.message)
        await requeue(tx, work, at, null, problem, false)
      } else if (mayRetry) await requeue(tx, work, at, new Date(at.getTime() + delayMs), problem, true)
      else await stop(tx, work, at, known instanceof Held ? 'held' : 'failed', problem)
      await release(store.boss, tx, wakeUp, target)
    })
    if (stopping) return
    const fields = { jobId: work.doer.id, key: work.doer.key, code: known.code, attempt: work.doer.attempts, ...(known.code === 'internal_error' ? { err: known.cause } : {}) }
    log.warn(fields, pause !== undefined ? `paused ${pause}: ${known.message}` : mayRetry ? `will be tried again: ${known.message}` : known.message)
    if (pause === undefined && !mayRetry) options.onDone({ kind: work.kind, outcome: known instanceof Held ? 'held' : 'failed', count: work.jobIds.length, bytes: 0, ms: 0 })
  }

  /** A refusal of credentials pauses only if a neutral question is refused too; else it is about this object alone. */
  async function findPause (error: AppError, work: Work, target: string, netstorage: NetStorageClient): Promise<string | undefined> {
    const name = error.code === 's3_forbidden' ? `s3:${work.doer.bucket}` : `netstorage:${target}`
    const fine = error.code === 's3_forbidden' ? await passes(async () => { await s3.probeBucket(work.doer.bucket as string) }) : await passes(async () => { await netstorage.stat({ cpCode: work.doer.cp_code as number, path: '' }) })
    return fine ? undefined : name
  }
}

/** Whether a probe is not refused for its credentials; any other failure leaves the question open and counts as no. */
export async function passes (probe: () => Promise<void>): Promise<boolean> {
  try {
    await probe()
    return true
  } catch {
    return false
  }
}
