import { sql } from 'kysely'
import type { PurgeObject } from '../purge/batch.ts'
import type { PurgeReceipt } from '../purge/client.ts'
import type { Tx } from '../store/store.ts'
import type { DebtRow } from '../store/tables.ts'
import { step } from './job.ts'

/** A commit that is never overtaken for longer than this: its purge goes out though newer commits keep coming. */
const longestPostponementMs = 30_000
/** How long a planner may hold what it took; after that another one takes it over. */
const claimMs = 90_000

/** What is owed after a commit, or asked for by a purge. */
export interface Owing {
  lane: string
  edgegrid: string
  network: DebtRow['network']
  type: DebtRow['type']
  action: DebtRow['action']
  objects: PurgeObject[]
  /** When the edge may be told: null = owed, but not asked for. */
  dueAt: Date | null
  /** From when on a purge pays it: the commit plus the settling delay. */
  settledAt: Date
  committedAt: Date
  repeat: boolean
  jobIds: string[]
}

/**
 * Writes down what is owed. A debt that stands already is taken over: it is put off until the new commit has settled,
 * but not beyond 30 seconds after the first; `delete` beats `invalidate`.
 */
export async function owe (tx: Tx, owing: Owing): Promise<void> {
  const objects = [...new Set(owing.objects.map(String))]
  if (objects.length === 0) return
  await sql`
    with standing as (
      insert into debts (lane, edgegrid, network, type, object, action, due_at, first_at, settled_at, wants_repeat)
      select ${owing.lane}, ${owing.edgegrid}, ${owing.network}, ${owing.type}, object, ${owing.action},
        ${owing.dueAt}::timestamptz, ${owing.committedAt}::timestamptz, ${owing.settledAt}::timestamptz, ${owing.repeat}::boolean
      from unnest(${objects}::text[]) as object
      on conflict (md5(lane || chr(1) || object), edgegrid, network, type, repeat) do update set
        action = case when excluded.action = 'delete' or debts.action = 'delete' then 'delete' else excluded.action end,
        due_at = case
          when excluded.due_at is null then debts.due_at
          when debts.due_at is null then excluded.due_at
          else least(excluded.due_at, greatest(debts.due_at, debts.first_at + ${longestPostponementMs}::int * interval '1 millisecond'))
        end,
        settled_at = greatest(debts.settled_at, excluded.settled_at),
        wants_repeat = debts.wants_repeat or excluded.wants_repeat,
        version = debts.version + 1,
        attempts = 0
      returning id
    )
    insert into waiters (debt_id, job_id, settled_at)
    select standing.id, job_id, ${owing.settledAt}::timestamptz from standing, unnest(${owing.jobIds}::uuid[]) as job_id
    on conflict do nothing`.execute(tx.kysely)
}

/** Makes all that a path still owes due, and lets the jobs wait for it. Returns how many debts that were. */
export async function callIn (tx: Tx, lane: string, now: Date, jobIds: string[]): Promise<number> {
  const { rows } = await sql<{ id: number }>`
    with due as (
      update debts set due_at = coalesce(due_at, greatest(settled_at, ${now}::timestamptz)), version = version + 1
      where lane = ${lane} and not repeat returning id, settled_at
    ), waiting as (
      insert into waiters (debt_id, job_id, settled_at)
      select due.id, job_id, due.settled_at from due, unnest(${jobIds}::uuid[]) as job_id on conflict do nothing
    )
    select id from due`.execute(tx.kysely)
  return rows.length
}

/** Takes what is due, oldest first, for one planner alone; jobs that wait for it are `purging` from now on. */
export async function takeDue (tx: Tx, now: Date, paused: string[], limit: number): Promise<DebtRow[]> {
  const { rows } = await sql<DebtRow>`
    update debts set claimed_until = ${new Date(now.getTime() + claimMs)}::timestamptz where id in (
      select id from debts
      where due_at <= ${now}::timestamptz and (claimed_until is null or claimed_until < ${now}::timestamptz)
        and edgegrid <> all(${paused}::text[])
      order by due_at limit ${limit} for update skip locked
    ) returning *`.execute(tx.kysely)
  if (rows.length > 0) {
    await sql`
      with waiting as (select distinct job_id from waiters where debt_id = any(${rows.map(row => row.id)}::bigint[]))
      update jobs set state = 'purging', timeline = timeline || ${step(now, 'purging', 'asking Fast Purge')}::jsonb
      where state = 'settling' and (id in (select job_id from waiting) or merged_into in (select job_id from waiting))`.execute(tx.kysely)
  }
  return rows
}

/** Jobs whose last debt is gone end: `failed` if an object of theirs was refused for good. */
async function finish (tx: Tx, jobIds: string[], now: Date): Promise<Array<{ kind: string, outcome: string | null, state: string, created_at: Date }>> {
  if (jobIds.length === 0) return []
  const { rows } = await sql<{ kind: string, outcome: string | null, state: string, created_at: Date }>`
    with done as (
      select id from unnest(${jobIds}::uuid[]) as id where not exists (select from waiters where job_id = id)
    )
    update jobs set
      state = case when purge ? 'refused' then 'failed' else 'succeeded' end,
      outcome = case when purge ? 'refused' then null else coalesce(outcome, 'purged') end,
      error = case when purge ? 'refused' then error else null end,
      next_attempt_at = null,
      purged_at = ${now}::timestamptz, finished_at = ${now}::timestamptz,
      timeline = timeline || case when purge ? 'refused' then ${step(now, 'failed', 'Fast Purge refused objects for good')}::jsonb
        else ${step(now, 'succeeded', 'every purge is accepted')}::jsonb end
    where finished_at is null and (id in (select id from done) or merged_into in (select id from done))
    returning kind, outcome, state, created_at`.execute(tx.kysely)
  return rows
}

export interface Payment {
  debts: DebtRow[]
  /** When the request left: it pays only what had settled by then. */
  sentAt: Date
  receipt: PurgeReceipt
  repeatMs: number
  purgeRowId: string
}

/** Books an accepted purge: pays the debts, orders the repeats, tells the jobs. Returns the jobs that ended. */
export async function pay (tx: Tx, { debts, sentAt, receipt, repeatMs, purgeRowId }: Payment) {
  const first = debts[0] as DebtRow
  const ids = debts.map(debt => debt.id)
  const now = receipt.acceptedAt
  const objects = [...new Set(debts.map(debt => debt.object))]
  const waiting = await sql<{ job_id: string }>`
    delete from waiters where debt_id = any(${ids}::bigint[]) and settled_at <= ${sentAt}::timestamptz returning job_id`.execute(tx.kysely)
  const jobIds = [...new Set(waiting.rows.map(row => row.job_id))]
  await tx.kysely.insertInto('purges').values({
    id: purgeRowId,
    edgegrid: first.edgegrid,
    network: first.network,
    action: first.action,
    type: first.type,
    objects: JSON.stringify(objects),
    count: objects.length,
    purge_id: receipt.purgeId,
    support_id: receipt.supportId,
    accepted_at: now,
    job_ids: jobIds
  }).execute()
  await sql`
    with paid as (
      delete from debts using unnest(${ids}::bigint[], ${debts.map(debt => debt.version)}::int[]) as sent (sent_id, sent_version)
      where id = sent_id and version = sent_version and settled_at <= ${sentAt}::timestamptz returning debts.*
    )
    insert into debts (lane, edgegrid, network, type, object, action, due_at, first_at, settled_at, repeat)
    select lane, edgegrid, network, type, object, action, ${new Date(now.getTime() + repeatMs)}::timestamptz, first_at, settled_at, true
    from paid where wants_repeat and not repeat and ${repeatMs > 0}::boolean
    on conflict (md5(lane || chr(1) || object), edgegrid, network, type, repeat) do update set due_at = excluded.due_at`.execute(tx.kysely)
  await sql`
    update debts set claimed_until = null, first_at = ${sentAt}::timestamptz, attempts = 0,
      due_at = case when due_at <= ${sentAt}::timestamptz then greatest(settled_at, ${sentAt}::timestamptz) else due_at end
    where id = any(${ids}::bigint[])`.execute(tx.kysely)
  const request = { purgeId: receipt.purgeId, supportId: receipt.supportId, count: objects.length, acceptedAt: now.toISOString() }
  const latest = {
    purgeId: receipt.purgeId,
    acceptedAt: now.toISOString(),
    expectedLiveAt: new Date(now.getTime() + receipt.estimatedSeconds * 1000).toISOString()
  }
  await sql`
    update jobs set
      purge = jsonb_set(purge || ${JSON.stringify(latest)}::jsonb, '{requests}', (purge->'requests') || ${JSON.stringify([request])}::jsonb),
      timeline = timeline || ${step(now, 'purge_accepted', `Fast Purge accepted ${objects.length} ${first.type} as ${receipt.purgeId} on ${first.network}`)}::jsonb
    where purge is not null and (id = any(${jobIds}::uuid[]) or merged_into = any(${jobIds}::uuid[]))`.execute(tx.kysely)
  return await finish(tx, jobIds, now)
}

/** Gives taken debts back, to be sent again later, and shows the failure in the jobs that wait. */
export async function postpone (tx: Tx, debts: DebtRow[], dueAt: Date, problem: object): Promise<void> {
  const ids = debts.map(debt => debt.id)
  await sql`update debts set claimed_until = null, attempts = attempts + 1, due_at = ${dueAt}::timestamptz where id = any(${ids}::bigint[])`.execute(tx.kysely)
  await sql`
    with waiting as (select distinct job_id from waiters where debt_id = any(${ids}::bigint[]))
    update jobs set error = ${JSON.stringify(problem)}::jsonb, next_attempt_at = ${dueAt}::timestamptz
    where finished_at is null and (id in (select job_id from waiting) or merged_into in (select job_id from waiting))`.execute(tx.kysely)
}

/** Objects that Fast Purge will never accept: they stay owed, but nobody waits for them any longer. */
export async function refuse (tx: Tx, debts: DebtRow[], reason: string, problem: object, now: Date) {
  const ids = debts.map(debt => debt.id)
  await sql`update debts set claimed_until = null, due_at = null where id = any(${ids}::bigint[])`.execute(tx.kysely)
  const { rows } = await sql<{ job_id: string, objects: string[] }>`
    with gone as (delete from waiters where debt_id = any(${ids}::bigint[]) returning job_id, debt_id)
    select job_id, array_agg(debts.object) as objects from gone join debts on debts.id = debt_id group by job_id`.execute(tx.kysely)
  for (const row of rows) {
    const refused = JSON.stringify(row.objects.map(object => ({ object, reason })))
    await sql`
      update jobs set error = ${JSON.stringify(problem)}::jsonb,
        purge = jsonb_set(purge, '{refused}', coalesce(purge->'refused', '[]'::jsonb) || ${refused}::jsonb)
      where id = ${row.job_id} or merged_into = ${row.job_id}`.execute(tx.kysely)
  }
  return await finish(tx, rows.map(row => row.job_id), now)
}
