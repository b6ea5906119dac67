import { sql } from 'kysely'
import type { Store, Tx } from '../../store/store.ts'
import { step } from '../job.ts'
import { wake } from '../lanes/lanes.ts'

/**
 * Puts failed or cancelled jobs of an object back into their queue, as if they had just come in. What they copied
 * already is not copied again, and what is still owed is asked for again. Returns how many there were.
 */
export async function retryJobs (boss: Store['boss'], tx: Tx, ids: string[], now: Date, why: string): Promise<number> {
  if (ids.length === 0) return 0
  const { rows } = await sql<{ target: string, lane: string }>`
    update jobs set state = 'queued', outcome = null, merged_into = null, error = null, attempts = 0, next_attempt_at = null, finished_at = null,
      cancel_requested = false, retried_at = ${now}::timestamptz, timeline = timeline || ${step(now, 'queued', why)}::jsonb
    where id = any(${ids}::uuid[]) and state in ('failed', 'cancelled') and lane is not null and kind <> 'purge'
    returning target, lane`.execute(tx.kysely)
  await wake(boss, tx, rows)
  return rows.length
}
