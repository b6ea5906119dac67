import { sql } from 'kysely'
import { purgeObjects, type Rule } from '../mapping.ts'
import type { Store, Tx } from '../store/store.ts'
import type { PurgeReport } from '../store/tables.ts'
import type { Committed } from './copy-object.ts'
import { callIn, owe } from './debts.ts'
import { step } from './job.ts'
import { advance, release, type WakeUp, type Work } from './lanes.ts'

/** Writes down, before a first upload can arrive, that what will lie at the path may be ours. */
export async function markPending (kysely: Store['kysely'], lane: string, target: string, { doer }: Work, now: Date): Promise<void> {
  const owner = { bucket: doer.bucket as string, key: doer.key as string, pending: true }
  await kysely.insertInto('objects')
    .values({ lane, target, cp_code: doer.cp_code as number, path: doer.path as string, ...owner, present: false, mtime: 0, committed_at: now, job_id: doer.id })
    .onConflict(conflict => conflict.column('lane').doUpdateSet(owner)).execute()
}

/** An upload failed that may have arrived: the ledger no longer says for sure what lies at the path, nor how old it is. */
export async function doubt (tx: Tx, lane: string, mtime: number): Promise<void> {
  await sql`update objects set pending = true, mtime = greatest(mtime, ${mtime}::bigint) where lane = ${lane}`.execute(tx.kysely)
}

/** A copy that was verified, and what follows from it. */
export interface Settlement {
  wakeUp: WakeUp
  work: Work
  rule: Rule
  target: string
  done: Committed
  now: Date
  purgeDelayMs: number
  purgeRepeat: boolean
}

/** The one transaction after a verified copy: ledger, debt, jobs and wake-up, or none of them. */
export async function settle (boss: Store['boss'], tx: Tx, { wakeUp, work, rule, target, done, now: at, purgeDelayMs, purgeRepeat }: Settlement): Promise<void> {
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
      pending: false,
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
  const settledAt = changed ? new Date(at.getTime() + purgeDelayMs) : at
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
      repeat: changed && purgeRepeat,
      jobIds: wants ? work.jobIds : []
    })
  }
  const owed = wants && report !== undefined ? await callIn(tx, wakeUp.lane, at, work.jobIds) : 0
  const words = done.detail ?? { uploaded: 'verified on NetStorage', deleted: 'deleted on NetStorage', unchanged: 'NetStorage holds these bytes already', ignored: 'nothing to do' }[done.outcome]
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
  await release(boss, tx, wakeUp, target)
}
