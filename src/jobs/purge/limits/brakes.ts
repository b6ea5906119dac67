import { sql } from 'kysely'
import type { Tx } from '../../../store/store.ts'
import type { DebtRow } from '../../../store/tables.ts'
import { step } from '../../job.ts'

/** A whole CP code on one network. */
export interface Code { network: DebtRow['network'], object: string }

/** A CP code that events purged as often as they may, and when they may again. */
export interface BrakedCode extends Code { until: Date }

/**
 * Which of these CP codes events may not purge now, having done so `perHour` times within the hour. What is on its way
 * counts as done. Purges that somebody asked for by REST neither count nor are asked about here.
 */
export async function findBraked (tx: Tx, edgegrid: string, codes: readonly Code[], perHour: number, now: Date): Promise<BrakedCode[]> {
  if (codes.length === 0) return []
  const { rows } = await sql<BrakedCode>`
    select code.network, code.object, history.until from unnest(${codes.map(code => code.network)}::text[], ${codes.map(code => code.object)}::text[]) as code (network, object)
    cross join lateral (
      select purges.accepted_at + interval '1 hour' as until from purge_objects join purges on purges.id = request_id
      where object_hash = hashtextextended(code.object, 0) and type = 'cpcode' and edgegrid = ${edgegrid} and purges.network = code.network
        and code.object = any(limited_codes) and accepted_at > ${now}::timestamptz - interval '1 hour'
      union all
      select * from (select ${now}::timestamptz + interval '1 minute' from debts where md5(debts.object) = md5(code.object) and debts.object = code.object and type = 'cpcode'
        and edgegrid = ${edgegrid} and debts.network = code.network and limited and claimed_until >= ${now}::timestamptz limit 1) as sending
      order by until desc offset ${perHour - 1} limit 1
    ) as history`.execute(tx.kysely)
  return rows
}

/** Puts off what events want of braked CP codes; all of it is merged into the next purge of the code. Says so in the jobs. */
export async function putOff (tx: Tx, edgegrid: string, braked: readonly BrakedCode[], perHour: number, now: Date): Promise<void> {
  for (const { network, object, until } of braked) {
    const words = `events purged CP code ${object} ${perHour} times within the hour; this is merged into the next purge at ${until.toISOString()}`
    await sql`
      with late as (
        update debts set due_at = ${until}::timestamptz where md5(object) = md5(${object}::text) and object = ${object} and type = 'cpcode' and edgegrid = ${edgegrid}
          and network = ${network} and limited and due_at <= ${now}::timestamptz and (claimed_until is null or claimed_until < ${now}::timestamptz) returning id
      )
      update jobs set next_attempt_at = ${until}::timestamptz, timeline = timeline || ${step(now, 'held_back', words)}::jsonb
      where id in (select job_id from waiters where debt_id in (select id from late)) and finished_at is null`.execute(tx.kysely)
  }
}
