import { sql } from 'kysely'
import type { TokenBucket } from '../../../purge/budget.ts'
import type { Tx } from '../../../store/store.ts'
import type { DebtRow } from '../../../store/tables.ts'
import { owe, priorities } from '../../debts/owe.ts'
import { step } from '../../job.ts'
import { findBraked } from './brakes.ts'

/** At most so many URLs in one transaction; the rest follows in the next. */
const atOnce = 20_000

export interface EscalationOptions {
  edgegrid: string
  /** The longest that URLs may take to drain; 0 = any time. */
  escalateMs: number
  budget: number
  cpCodesPerHour: number
  /** The bucket of URLs. */
  bucket: TokenBucket
  now: Date
}

interface Waiting { id: number, network: DebtRow['network'], cp_codes: number[], wants_repeat: boolean }

/**
 * When more URLs are due than drain in time, those whose rule names delivery CP codes are replaced by one invalidation of
 * each code, as far as the brake on CP codes lets it. The jobs go on waiting, for that, and say so. Returns how many
 * URLs were replaced.
 */
export async function escalate (tx: Tx, { edgegrid, escalateMs, budget, cpCodesPerHour, bucket, now }: EscalationOptions): Promise<number> {
  if (escalateMs === 0) return 0
  // What other tools took, and go on taking, does not drain our URLs.
  const pace = Math.max(0, Math.min(bucket.perSecond * budget, bucket.perSecond - bucket.foreignPerSecond))
  const inTime = Math.floor(Math.max(0, Math.min(bucket.own, bucket.level)) + escalateMs / 1000 * pace)
  const due = sql`edgegrid = ${edgegrid} and type = 'url' and due_at <= ${now}::timestamptz and (claimed_until is null or claimed_until < ${now}::timestamptz)`
  const { rows: counted } = await sql<{ count: number }>`
    select count(*) as count from (select from debts where ${due} and priority < ${priorities.repeat} limit ${inTime + 1}) as due`.execute(tx.kysely)
  if ((counted[0]?.count ?? 0) <= inTime) return 0
  const { rows } = await sql<Waiting>`select id, network, cp_codes, wants_repeat from debts
    where ${due} and priority < ${priorities.repeat} and cp_codes is not null limit ${atOnce} for update skip locked`.execute(tx.kysely)
  let replaced = 0
  for (const group of Map.groupBy(rows, row => `${row.network} ${row.cp_codes.join()}`).values()) {
    const { network, cp_codes: codes } = group[0] as Waiting
    const braked = await findBraked(tx, edgegrid, codes.map(code => ({ network, object: String(code) })), cpCodesPerHour, now)
    if (braked.length > 0) continue
    await replace(tx, edgegrid, network, codes, group, now)
    replaced += group.length
  }
  return replaced
}

/** The waiting jobs change over from the URLs to the CP codes. */
async function replace (tx: Tx, edgegrid: string, network: DebtRow['network'], codes: number[], group: readonly Waiting[], now: Date): Promise<void> {
  const ids = group.map(row => row.id)
  const { rows } = await sql<{ job_id: string }>`select distinct job_id from waiters where debt_id = any(${ids}::bigint[])`.execute(tx.kysely)
  const jobIds = rows.map(row => row.job_id)
  await owe(tx, [{
    lane: '',
    edgegrid,
    network,
    type: 'cpcode',
    action: 'invalidate',
    objects: codes,
    asked: true,
    delayMs: 0,
    priority: priorities.event,
    repeat: group.some(row => row.wants_repeat),
    limited: true,
    jobIds
  }])
  await sql`delete from debts where id = any(${ids}::bigint[])`.execute(tx.kysely)
  const words = `too many URLs wait: CP code ${codes.join(', ')} is invalidated in their place`
  await sql`update jobs set timeline = timeline || ${step(now, 'escalated', words)}::jsonb,
      purged = coalesce(purged, '{}') || ${JSON.stringify({ escalated: { cpCodes: codes, at: now.toISOString() } })}::jsonb
    where id = any(${jobIds}::uuid[]) and finished_at is null`.execute(tx.kysely)
}
