import { type AppError, toAppError, toProblem } from '../../errors.ts'
import type { NetStorageClient } from '../../netstorage/client.ts'
import type { S3Objects } from '../../s3/objects.ts'
import type { Store } from '../../store/store.ts'
import { copyObject, Held, PutOff } from './copy-object.ts'
import { Cancelled, endCancelled } from '../acting/cancel.ts'
import { createBatches } from './batches.ts'
import { takeDelete } from './delete-brake.ts'
import type { Lease } from '../lanes/dispatcher.ts'
import { LeaseLost, release, requeue, stop, type WakeUp, type Work } from '../lanes/lanes.ts'
import type { Pauses } from '../pauses.ts'
import type { Limits } from '../permissions.ts'
import type { Probes, Verdict } from '../probes.ts'
import { findRuleOf, placeAnew, relocate } from './relocate.ts'
import { doubt } from '../settle.ts'
import type { Slot } from '../lanes/slots.ts'

const progressMs = 500
/** How long a lane of a paused bucket sleeps: spread, so that they do not all look at once. */
const pausedMs = () => 5000 + Math.random() * 5000

export interface SyncOptions {
  store: Store
  s3: S3Objects
  /** NetStorage clients by the name of their target. */
  targets: ReadonlyMap<string, NetStorageClient>
  /** The rules in force, and what goes with them. */
  limits: () => Limits
  pauses: Pauses
  probes: Probes
  now: () => Date
  purgeDelayMs: number
  purgeRepeat: boolean
  verifyTimeoutMs: number
  digest: 'trailer' | 'prehash'
  minRewriteMs: number
  retryMs: number
  /** How many deletes events may cause within a minute. */
  deleteLimitPerMinute: number
  log: { info: (fields: object, message: string) => void, warn: (fields: object, message: string) => void }
  /** Called when a copy ended, with what it did. */
  onDone: (done: { kind: string, outcome: string, count: number, bytes: number, owes: boolean, ms: number }) => void
}

/**
 * Makes one NetStorage path equal to what S3 holds now: the straight line. A job is only a hint where to look, so a
 * repeat does no harm; what is owed to the edge is written in the transaction that says the copy is verified.
 */
export function createSyncObject (options: SyncOptions) {
  const { store, s3, targets, limits, pauses, probes, now, log } = options

  const batches = createBatches(options)
  const running = new Map<string, AbortController>()

  /** Stops the uploads whose callers want them no more, on whichever replica they said so. */
  async function stopCancelled (): Promise<void> {
    if (running.size === 0) return
    const rows = await store.kysely.selectFrom('jobs').select('id').where('id', 'in', [...running.keys()]).where('cancel_requested', '=', true).execute()
    for (const { id } of rows) running.get(id)?.abort(new Cancelled('cancelled'))
  }

  /** A lease that also ends when the job is cancelled, until its work may take effect: from then on it goes on to its end. */
  function cancellable (id: string, lease: Lease): Lease {
    const ending = new AbortController()
    const end = () => { ending.abort(lease.signal.reason) }
    lease.signal.addEventListener('abort', end)
    if (lease.signal.aborted) end()
    running.set(id, ending)
    return {
      signal: ending.signal,
      check () {
        ending.signal.throwIfAborted()
        lease.check()
        running.delete(id)
      }
    }
  }

  /** Does the work of one lane and ends its wake-up. Returns whether the lane was called again. */
  async function run (wakeUp: WakeUp, target: string, given: Lease, slot: Slot): Promise<boolean> {
    const { work, ledger } = await batches.claim({ wakeUp, target })
    if (work === undefined) return false
    const paused = pauses.reasons().get(`s3:${work.doer.bucket}`)
    if (paused !== undefined) return await putOff(work, wakeUp, target, new PutOff(paused, { waitMs: pausedMs() }))
    if (!await slot.prepare()) return await putOff(work, wakeUp, target, new PutOff('no slot came free', {}))
    const startedAt = performance.now()
    batches.begin()
    const lease = cancellable(work.doer.id, given)
    let uploadedMtime: number | undefined
    try {
      const netstorage = targets.get(target)
      if (netstorage === undefined) return await move(work, wakeUp, target)
      const rule = findRuleOf(limits(), work.doer)
      const done = await copyObject(s3, {
        work,
        rule,
        netstorage,
        ledger,
        lease,
        verifyTimeoutMs: options.verifyTimeoutMs,
        digest: options.digest,
        minRewriteMs: options.minRewriteMs,
        isExpress: slot.isExpress,
        now,
        takeSlot: async () => { if (!await slot.take()) throw new PutOff('no slot came free', {}) },
        markPending: async () => { await batches.markPending({ lane: wakeUp.lane, target, work }) },
        takeDelete: async () => await takeDelete(store, now(), options.deleteLimitPerMinute),
        onUpload (mtime) { uploadedMtime = mtime },
        onProgress: progress(work)
      })
      slot.release()
      const { again, owes } = await batches.settle({ wakeUp, work, rule, target, done })
      const fields = { jobId: work.doer.id, key: work.doer.key, outcome: done.outcome, sizeBytes: done.sizeBytes, attempt: work.doer.attempts, ms: Math.round(performance.now() - startedAt) }
      log.info(fields, done.outcome)
      options.onDone({ kind: work.kind, outcome: done.outcome, count: work.jobIds.length, bytes: done.outcome === 'uploaded' ? done.sizeBytes ?? 0 : 0, owes, ms: fields.ms })
      return again
    } catch (error) {
      slot.release()
      if (error instanceof PutOff) return await putOff(work, wakeUp, target, error)
      if (!(error instanceof Cancelled)) return await fail(error, work, wakeUp, target, given, uploadedMtime)
      return await store.withTx(async tx => {
        await endCancelled(store.boss, tx, work.doer, now())
        return await release(store.boss, tx, target, [wakeUp])
      })
    } finally {
      batches.end()
      running.delete(work.doer.id)
    }
  }

  /**
   * Gives a lane back without an attempt less: its bucket is paused, and others share its queue; it found no slot, and
   * another replica may have one; or the copy itself said so.
   */
  async function putOff (work: Work, wakeUp: WakeUp, target: string, { waitMs, priority, message }: PutOff): Promise<boolean> {
    return await store.withTx(async tx => {
      await requeue(tx, work, now(), waitMs === 0 ? null : new Date(now().getTime() + waitMs), work.doer.error ?? undefined, false, message)
      return await release(store.boss, tx, target, [wakeUp], priority)
    })
  }

  /** A reload took the target away: the work goes on where the rules want it now. */
  async function move (work: Work, wakeUp: WakeUp, target: string): Promise<boolean> {
    const place = placeAnew(limits(), work.doer)
    return await store.withTx(async tx => await relocate(store.boss, tx, { work, wakeUp, target, now: now(), place }))
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

  /** Decides what a failure means: a pause of the target, another attempt, or the end. */
  async function fail (error: unknown, work: Work, wakeUp: WakeUp, target: string, lease: Lease, uploadedMtime: number | undefined): Promise<boolean> {
    if (error instanceof LeaseLost || lease.signal.reason instanceof LeaseLost) throw error
    const stopping = lease.signal.aborted
    const known = toAppError(error)
    const problem = toProblem(known)
    const { pause, verdict } = await judge(known, work, target)
    const at = now()
    const delayMs = Math.max(1000 * Math.min(900, 2 ** (work.doer.attempts - 1)) * (0.75 + Math.random() / 2), (known.retryAfterSeconds ?? 0) * 1000)
    // Whether it is the object or the credentials cannot always be told: then time must show.
    const mayRetry = (known.retryable || verdict === 'unknown') && at.getTime() + delayMs - (work.doer.retried_at ?? work.doer.created_at).getTime() < options.retryMs
    const again = await store.withTx(async tx => {
      if (uploadedMtime !== undefined) await doubt(tx, wakeUp.lane, uploadedMtime)
      if (stopping) await requeue(tx, work, at, null, undefined, false)
      else if (pause !== undefined) {
        await pauses.pause(tx, pause, known.message)
        // Nobody fetches for a paused account, but for a paused bucket the lane itself must wait.
        await requeue(tx, work, at, pause.startsWith('s3:') ? new Date(at.getTime() + pausedMs()) : null, problem, false)
      } else if (mayRetry) await requeue(tx, work, at, new Date(at.getTime() + delayMs), problem, true)
      else await stop(tx, work, at, known instanceof Held ? 'held' : 'failed', problem)
      return await release(store.boss, tx, target, [wakeUp])
    })
    if (stopping) return again
    const fields = { jobId: work.doer.id, key: work.doer.key, code: known.code, attempt: work.doer.attempts, ...(known.code === 'internal_error' ? { err: known.cause } : {}) }
    log.warn(fields, pause !== undefined ? `paused ${pause}: ${known.message}` : mayRetry ? `will be tried again: ${known.message}` : known.message)
    if (pause === undefined && !mayRetry) options.onDone({ kind: work.kind, outcome: known instanceof Held ? 'held' : 'failed', count: work.jobIds.length, bytes: 0, owes: false, ms: 0 })
    return again
  }

  /** A refusal of credentials pauses only if a neutral question is refused too; else it is about this object alone. */
  async function judge (error: AppError, work: Work, target: string): Promise<{ pause?: string, verdict?: Verdict }> {
    if (!error.credentials) return {}
    const [name, verdict] = error.code.startsWith('s3_')
      ? [`s3:${work.doer.bucket}`, await probes.s3(work.doer.bucket as string)]
      : [`netstorage:${target}`, await probes.netstorage(target)]
    return { verdict, ...(verdict === 'refused' ? { pause: name } : {}) }
  }

  return { run, stopCancelled }
}
