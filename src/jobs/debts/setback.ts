import { sql } from 'kysely'
import type { Problem } from '../../errors.ts'
import type { Tx } from '../../store/store.ts'
import { tellJobs, type EndedJob, type HeldDebt } from './payment.ts'

const ids = (debts: readonly HeldDebt[]) => debts.map(debt => debt.id)

/** Gives debts back as they were: nothing was learned of them. */
export async function giveBackDebts (tx: Tx, debts: readonly HeldDebt[]): Promise<void> {
  await sql`update debts set claimed_until = null where id = any(${ids(debts)}::bigint[])`.execute(tx.kysely)
}

/** Gives debts back in parts that travel apart from each other and from everything else, until the one at fault is found. */
export async function isolate (tx: Tx, parts: readonly HeldDebt[][]): Promise<void> {
  const marked = parts.flatMap(part => {
    const suspect = Math.floor(Math.random() * 2 ** 52)
    return part.map(({ id }) => ({ id, suspect }))
  })
  await sql`update debts set claimed_until = null, suspect = marked.suspect
    from unnest(${marked.map(each => each.id)}::bigint[], ${marked.map(each => each.suspect)}::bigint[]) as marked (id, suspect)
    where debts.id = marked.id`.execute(tx.kysely)
}

/** Puts debts off and shows the failure in the jobs that wait. */
export async function postpone (tx: Tx, debts: readonly HeldDebt[], delayMs: number): Promise<void> {
  await sql`update debts set claimed_until = null, attempts = attempts + 1, due_at = clock_timestamp() + ${delayMs}::float8 * interval '1 millisecond'
    where id = any(${ids(debts)}::bigint[])`.execute(tx.kysely)
}

/** Shows the jobs that wait for debts why they still do, and when they are tried again. */
export async function explain (tx: Tx, debts: readonly HeldDebt[], problem: Problem, nextAttemptAt: Date): Promise<void> {
  await sql`
    with waiting as materialized (
      select id from jobs where id in (select job_id from waiters where debt_id = any(${ids(debts)}::bigint[])) and finished_at is null order by id for update
    )
    update jobs set next_attempt_at = ${nextAttemptAt}::timestamptz,
      error = case when coalesce(purged ? 'refused', false) then error else ${JSON.stringify(problem)}::jsonb end
    from waiting where jobs.id = waiting.id`.execute(tx.kysely)
}

/** The most jobs that are told of a pause in one transaction; the others follow with the next refusal. */
const toldAtOnce = 2_000

/** Shows all jobs that wait for purges with one credential why nothing is sent, unless they know of a failure already. */
export async function explainPause (tx: Tx, edgegrid: string, problem: Problem): Promise<void> {
  await sql`
    with unaware as materialized (
      select id from jobs where finished_at is null and error is null
        and id in (select job_id from waiters join debts on debts.id = debt_id where edgegrid = ${edgegrid} and due_at <= clock_timestamp())
      order by id limit ${toldAtOnce} for update
    )
    update jobs set error = ${JSON.stringify(problem)}::jsonb from unaware where jobs.id = unaware.id`.execute(tx.kysely)
}

/** Objects that Fast Purge will never accept, each with the reason. */
export interface Refusal { debts: readonly HeldDebt[], reason: string, problem: Problem }

/**
 * Nobody waits any longer for what is refused for good. A path goes on owing it, so that it is tried again when the path
 * is next asked for; a purge of no path is over. Returns the jobs that ended.
 */
export async function refuse (tx: Tx, refusals: readonly Refusal[], now: Date): Promise<EndedJob[]> {
  const all = refusals.flatMap(({ debts }, index) => debts.map(({ id }) => ({ id, index: index + 1 })))
  if (all.length === 0) return []
  const { rows } = await sql<{ id: string }>`
    with refused as (
      select * from unnest(${all.map(each => each.id)}::bigint[], ${all.map(each => each.index)}::int[]) as refused (id, index)
      join unnest(${refusals.map(each => each.reason)}::text[], ${refusals.map(each => JSON.stringify(each.problem))}::jsonb[]) with ordinality as why (reason, problem, index) using (index)
    ), gone as (
      delete from waiters using refused where debt_id = refused.id returning job_id, debt_id, reason, problem
    ), named as (
      select job_id, (array_agg(problem))[1] as problem, jsonb_agg(distinct jsonb_build_object(
        'object', case when debts.type = 'cpcode' then to_jsonb(debts.object::bigint) else to_jsonb(debts.object) end, 'reason', reason)) as objects
      from gone join debts on debts.id = debt_id group by job_id
    )
    update jobs set error = named.problem,
      purged = coalesce(purged, '{}') || jsonb_build_object('refused', coalesce(purged->'refused', '[]') || named.objects)
    from named where jobs.id = named.job_id returning id`.execute(tx.kysely)
  const refusedIds = all.map(each => each.id)
  await sql`delete from debts where id = any(${refusedIds}::bigint[]) and (lane = '' or repeat)`.execute(tx.kysely)
  await sql`update debts set claimed_until = null, due_at = null, suspect = null, attempts = 0 where id = any(${refusedIds}::bigint[])`.execute(tx.kysely)
  return await tellJobs(tx, rows.map(row => row.id), now)
}
