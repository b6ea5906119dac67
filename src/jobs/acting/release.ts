import { sql } from 'kysely'
import type { Store, Tx } from '../../store/store.ts'
import { step } from '../job.ts'
import { wake } from '../lanes/lanes.ts'

/** Lets held jobs go on although they were held: an operator has decided. Returns how many there were. */
export async function releaseJobs (boss: Store['boss'], tx: Tx, ids: string[], now: Date): Promise<number> {
  if (ids.length === 0) return 0
  const { rows } = await sql<{ target: string, lane: string }>`
    update jobs set state = 'queued', error = null, attempts = 0, retried_at = ${now}::timestamptz, request = request || '{"released": true}'::jsonb,
      timeline = timeline || ${step(now, 'queued', 'released by an operator')}::jsonb
    where id = any(${ids}::uuid[]) and state = 'held' returning target, lane`.execute(tx.kysely)
  await wake(boss, tx, rows)
  return rows.length
}
