import { sql } from 'kysely'
import type { Store, Tx } from '../../store/store.ts'
import type { JobRequest, PurgePlan, PurgeProgress } from '../../store/tables.ts'
import { owe, restPriority, type Owing } from '../debts/owe.ts'
import { step } from '../job.ts'
import { wake } from '../lanes/lanes.ts'

/**
 * Puts failed or cancelled jobs back, as if they had just come in. What was copied already is not copied again, what is
 * still owed is asked for again, and of a purge only what was refused is. Returns how many there were.
 */
export async function retryJobs (boss: Store['boss'], tx: Tx, ids: string[], now: Date, why: string): Promise<number> {
  if (ids.length === 0) return 0
  const { rows } = await sql<{ target: string, lane: string }>`
    update jobs set state = 'queued', outcome = null, merged_into = null, error = null, attempts = 0, next_attempt_at = null, finished_at = null,
      cancel_requested = false, retried_at = ${now}::timestamptz, timeline = timeline || ${step(now, 'queued', why)}::jsonb
    where id = any(${ids}::uuid[]) and state in ('failed', 'cancelled') and lane is not null and kind <> 'purge'
    returning target, lane`.execute(tx.kysely)
  await wake(boss, tx, rows)
  return rows.length + await retryPurges(tx, ids, now, why)
}

interface FailedPurge { id: string, lane: string | null, purge: PurgePlan, purged: PurgeProgress | null, request: JobRequest }

async function retryPurges (tx: Tx, ids: string[], now: Date, why: string): Promise<number> {
  const { rows } = await sql<FailedPurge>`
    with failed as materialized (
      select id, purged from jobs where id = any(${ids}::uuid[]) and state = 'failed' and kind = 'purge' and purge is not null order by id for update
    )
    update jobs set state = 'purging', error = null, next_attempt_at = null, finished_at = null, purged_at = null, purged = jobs.purged - 'refused',
      retried_at = ${now}::timestamptz, timeline = timeline || ${step(now, 'purging', why)}::jsonb
    from failed where jobs.id = failed.id returning jobs.id, lane, purge, failed.purged, request`.execute(tx.kysely)
  await owe(tx, rows.flatMap(owingsOf))
  return rows.length
}

/** What was refused; a number is a CP code, also where it had taken the place of URLs. */
function owingsOf ({ id, lane, purge, purged, request }: FailedPurge): Owing[] {
  const objects = purged?.refused?.map(each => each.object) ?? purge.objects
  const codes = objects.filter(object => typeof object === 'number')
  const others = objects.filter(object => typeof object !== 'number')
  const common = { lane: lane ?? '', edgegrid: request.edgegrid ?? 'default', network: purge.network, asked: true, delayMs: 0, priority: restPriority(objects.length), repeat: false, jobIds: [id] }
  return [
    { ...common, type: 'cpcode', action: purge.by === 'cpcode' ? purge.action : 'invalidate', objects: codes },
    { ...common, type: purge.by, action: purge.action, objects: others, ...(request.escalateTo === undefined ? {} : { cpCodes: request.escalateTo }) }
  ]
}
