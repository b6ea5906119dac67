import { type AppError, toAppError, toProblem } from '../../errors.ts'
import type { NetStorageClient } from '../../netstorage/client.ts'
import type { S3Objects } from '../../s3/objects.ts'
import type { Store, Tx } from '../../store/store.ts'
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
import { createRevocableLeases } from './revocable.ts'
import { amend, type Trace } from '../settle.ts'
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

/** One run of a lane: what it does, and what it may have left behind so far. */
interface Attempt extends Trace { work: Work, target: string }

/**
 * Makes one NetStorage path equal to what S3 holds now: the straight line. A job is only a hint where to look, so a
 * repeat does no harm; what is owed to the edge is written in the transaction that says the copy is verified.
 */
export function createSyncObject (options: SyncOptions) {
  const { store, s3, targets, limits, pauses, probes, now, log } = options

  const batches = createBatches(options)
  const leases = createRevocableLeases(store)

  /** Does the work of one lane and ends its wake-up. Returns whether the lane was called again. */
  async function run (wakeUp: WakeUp, target: string, given: Lease, slot: Slot): Promise<boolean> {
    const { work, ledger } = await batches.claim({ wakeUp, target })
    if (work === undefined) return false
    const attempt: Attempt = { work, wakeUp, target, ledger, isMarked: false, uploadedMtime: undefined }
    const lease = leases.cover(work.doer.id, given)
    const enter = async (step: Slot['take']): Promise<void> => {
      const isIn = await step(lease.signal)
      lease.signal.throwIfAborted()
      if (!isIn) throw new PutOff('no slot came free', {})
    }
    batches.begin()
    try {
      const paused = pauses.reasons().get(`s3:${work.doer.bucket}`)
      if (paused !== undefined) throw new PutOff(paused, { waitMs: pausedMs() })
      await enter(slot.prepare)
      let startedAt = performance.now()
      const netstorage = targets.get(target)
      if (netstorage === undefined) return await move(attempt)
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
        async markPending () {
          // Who was frozen meanwhile must not mark what others have put there since.
          given.check()
          attempt.isMarked = true
          await batches.markPending({ lane: wakeUp.lane, target, work })
        },
        async takeSlot () {
          const waitsSince = performance.now()
          await enter(slot.take)
          startedAt += performance.now() - waitsSince
        },
        takeDelete: async () => await takeDelete(store, now(), options.deleteLimitPerMinute),
        onUpload (mtime) { attempt.uploadedMtime = mtime },
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
      if (error instanceof PutOff) return await putOff(attempt, error)
      // Its last bytes have not left, so nothing of it can have arrived.
      if (error instanceof Cancelled) return await end(attempt, async tx => { await endCancelled(store.boss, tx, work.doer, now()) })
      return await fail(error, attempt, given)
    } finally {
      batches.end()
      lease.forget()
    }
  }

  /**
   * Gives a lane back without an attempt less: its bucket is paused, and others share its queue; it found no slot, and
   * another replica may have one; or the copy itself said so.
   */
  async function putOff (attempt: Attempt, { waitMs, priority, message }: PutOff): Promise<boolean> {
    const { work } = attempt
    const at = waitMs === 0 ? null : new Date(now().getTime() + waitMs)
    return await end(attempt, async tx => { await requeue(store.boss, tx, work, now(), at, work.doer.error ?? undefined, false, message) }, priority)
  }

  /** Ends a run that verified nothing, in one transaction: what it may have left behind, what becomes of its job, and its wake-up. */
  async function end (attempt: Attempt, decide: (tx: Tx) => Promise<void>, priority?: number): Promise<boolean> {
    return await store.withTx(async tx => {
      await amend(tx, attempt)
      await decide(tx)
      return await release(store.boss, tx, attempt.target, [attempt.wakeUp], priority)
    })
  }

  /** A reload took the target away: the work goes on where the rules want it now. */
  async function move ({ work, wakeUp, target }: Attempt): Promise<boolean> {
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
  async function fail (error: unknown, attempt: Attempt, lease: Lease): Promise<boolean> {
    const { work, target } = attempt
    if (error instanceof LeaseLost || lease.signal.reason instanceof LeaseLost) throw error
    const stopping = lease.signal.aborted
    const known = toAppError(error)
    const problem = toProblem(known)
    const { pause, verdict } = await judge(known, work, target)
    const at = now()
    const delayMs = Math.max(1000 * Math.min(900, 2 ** (work.doer.attempts - 1)) * (0.75 + Math.random() / 2), (known.retryAfterSeconds ?? 0) * 1000)
    // Whether it is the object or the credentials cannot always be told: then time must show.
    const mayRetry = (known.retryable || verdict === 'unknown') && at.getTime() + delayMs - (work.doer.retried_at ?? work.doer.created_at).getTime() < options.retryMs
    const again = await end(attempt, async tx => {
      if (stopping) await requeue(store.boss, tx, work, at, null, undefined, false)
      else if (pause !== undefined) {
        await pauses.pause(tx, pause, known.message)
        // Nobody fetches for a paused account, but for a paused bucket the lane itself must wait.
        await requeue(store.boss, tx, work, at, pause.startsWith('s3:') ? new Date(at.getTime() + pausedMs()) : null, problem, false)
      } else if (mayRetry) await requeue(store.boss, tx, work, at, new Date(at.getTime() + delayMs), problem, true)
      else await stop(store.boss, tx, work, at, known instanceof Held ? 'held' : 'failed', problem)
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

  return { run, stopCancelled: leases.revoke }
}
