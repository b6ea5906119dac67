import { sql } from 'kysely'
import type { PurgeReceipt } from '../../purge/client.ts'
import type { Tx } from '../../store/store.ts'
import type { DebtRow } from '../../store/tables.ts'
import { step } from '../job.ts'
import { priorities } from './owe.ts'

/** What a planner needs of a debt that it holds. */
export type HeldDebt = Pick<DebtRow, 'id' | 'lane' | 'object' | 'action' | 'repeat' | 'version' | 'attempts' | 'limited' | 'due_at' | 'first_at'>

/** What ended, for the metrics. */
export type EndedJob = { kind: string, outcome: string | null, state: string, created_at: Date }

/** An accepted request and the debts it was sent for. */
export interface Payment {
  /** The same for each attempt to book it. */
  purgeRowId: string
  edgegrid: string
  network: DebtRow['network']
  type: DebtRow['type']
  action: DebtRow['action']
  objects: string[]
  debts: HeldDebt[]
  /** When the request left, by the database's clock: it pays only what had settled by then. */
  sentAt: Date
  receipt: PurgeReceipt
  repeatMs: number
}

const nouns = { url: 'URL', cpcode: 'CP code', tag: 'tag' }

/** Books an accepted purge: pays the debts, orders the repeats, tells the jobs. Returns the jobs that ended. */
export async function pay (tx: Tx, { purgeRowId, edgegrid, network, type, action, objects, debts, sentAt, receipt, repeatMs }: Payment): Promise<EndedJob[]> {
  const ids = debts.map(debt => debt.id)
  const waiting = await sql<{ job_id: string }>`
    with owed as (select id from debts where id = any(${ids}::bigint[]) order by object, lane for update)
    delete from waiters using owed where debt_id = owed.id and settled_at <= ${sentAt}::timestamptz returning job_id`.execute(tx.kysely)
  const jobIds = [...new Set(waiting.rows.map(row => row.job_id))]
  await tx.kysely.insertInto('purges').values({
    id: purgeRowId,
    edgegrid,
    network,
    action,
    type,
    objects: JSON.stringify(type === 'cpcode' ? objects.map(Number) : objects),
    count: objects.length,
    purge_id: receipt.purgeId,
    support_id: receipt.supportId,
    accepted_at: receipt.acceptedAt,
    job_ids: jobIds,
    limited_codes: type === 'cpcode' ? objects.filter(object => debts.every(debt => debt.object !== object || debt.limited)) : []
  }).onConflict(conflict => conflict.doNothing()).execute()
  await sql`insert into purge_objects (object_hash, request_id)
    select hashtextextended(object, 0), ${purgeRowId} from unnest(${objects}::text[]) as object on conflict do nothing`.execute(tx.kysely)
  await settleDebts(tx, debts, sentAt, receipt.acceptedAt, repeatMs)
  const count = `${objects.length} ${nouns[type]}${objects.length === 1 ? '' : 's'}`
  return await tellJobs(tx, jobIds, receipt.acceptedAt, {
    receipt,
    count: objects.length,
    words: `Fast Purge accepted the ${action} of ${count} on ${network} as ${receipt.purgeId}`
  })
}

/** Paid debts go and their repeats come; what was incurred anew meanwhile stays, and is due when it has settled. */
async function settleDebts (tx: Tx, debts: HeldDebt[], sentAt: Date, now: Date, repeatMs: number): Promise<void> {
  // One statement each for repeats and first purges: the new repeat takes the place of the one that was just paid.
  for (const [held, follows] of [[debts.filter(debt => debt.repeat), false], [debts.filter(debt => !debt.repeat), repeatMs > 0]] as const) {
    if (held.length === 0) continue
    await sql`
      with paid as (
        delete from debts using unnest(${held.map(debt => debt.id)}::bigint[], ${held.map(debt => debt.version)}::int[]) as sent (sent_id, sent_version)
        where id = sent_id and version = sent_version and settled_at <= ${sentAt}::timestamptz returning debts.*
      )
      insert into debts (lane, edgegrid, network, type, object, action, due_at, first_at, settled_at, repeat, priority, limited)
      select lane, edgegrid, network, type, object, action, now() + ${repeatMs}::float8 * interval '1 millisecond', first_at, settled_at, true, ${priorities.repeat}, limited
      from paid where wants_repeat and ${follows}::boolean
      on conflict (md5(lane || chr(1) || object), edgegrid, network, type, repeat) do update set due_at = excluded.due_at`.execute(tx.kysely)
  }
  await sql`
    update debts set claimed_until = null, first_at = ${sentAt}::timestamptz, attempts = 0, suspect = null,
      due_at = case when due_at <= ${sentAt}::timestamptz then greatest(settled_at, ${sentAt}::timestamptz) else due_at end
    where id = any(${debts.map(debt => debt.id)}::bigint[])`.execute(tx.kysely)
}

interface Acceptance { receipt: PurgeReceipt, count: number, words: string }

/**
 * Writes what came of a purge into the jobs that waited for it, and ends those that wait for nothing more: `failed` if an
 * object of theirs was refused for good. Jobs are locked in the order of their ids, so that no two bookings wait for each other.
 */
export async function tellJobs (tx: Tx, jobIds: string[], now: Date, accepted?: Acceptance): Promise<EndedJob[]> {
  if (jobIds.length === 0) return []
  const request = accepted === undefined ? [] : [{ purgeId: accepted.receipt.purgeId, supportId: accepted.receipt.supportId, count: accepted.count, acceptedAt: now.toISOString() }]
  const latest = accepted === undefined
    ? {}
    : { purgeId: accepted.receipt.purgeId, acceptedAt: now.toISOString(), expectedLiveAt: new Date(now.getTime() + accepted.receipt.estimatedSeconds * 1000).toISOString() }
  const { rows } = await sql<EndedJob & { finished_at: Date | null }>`
    with told as materialized (
      select id, exists (select from waiters where job_id = jobs.id) as waits, coalesce(purged ? 'refused', false) as refused
      from jobs where id = any(${jobIds}::uuid[]) and finished_at is null order by id for update
    )
    update jobs set
      purged = coalesce(purged, '{}') || ${JSON.stringify(latest)}::jsonb || jsonb_build_object('requests', coalesce(purged->'requests', '[]') || ${JSON.stringify(request)}::jsonb),
      state = case when waits then state when refused then 'failed' else 'succeeded' end,
      outcome = case when waits then outcome when refused then null else coalesce(outcome, 'purged') end,
      error = case when refused then error else null end,
      next_attempt_at = null,
      purged_at = case when waits then purged_at else ${now}::timestamptz end,
      finished_at = case when waits then null else ${now}::timestamptz end,
      timeline = timeline || ${accepted === undefined ? '[]' : step(now, 'purge_accepted', accepted.words)}::jsonb || case
        when waits then '[]' when refused then ${step(now, 'failed', 'Fast Purge refused objects for good')}::jsonb
        else ${step(now, 'succeeded', 'every purge is accepted')}::jsonb end
    from told where jobs.id = told.id
    returning kind, outcome, state, created_at, finished_at`.execute(tx.kysely)
  return rows.filter(row => row.finished_at !== null)
}
