import { sql } from 'kysely'
import type { Store, Tx } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'
import { step } from '../job.ts'
import { wake } from '../lanes/lanes.ts'
import { lockJob, wrongState } from './select.ts'

/** The work was stopped because its caller no longer wants it. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled'
}

/**
 * Cancels one caller's job: others that merged with it go on. What waits ends at once; what is being uploaded is marked,
 * and its worker stops it unless the last bytes have left. Throws `job_not_found`, or `wrong_state` after the commit.
 */
export async function cancelJob (store: Store, tx: Tx, id: string, now: Date): Promise<JobRow['state']> {
  const job = await lockJob(tx, id)
  if (!['queued', 'held', 'uploading'].includes(job.state)) {
    throw wrongState(job, job.finished_at === null ? 'its upload is done, or its purge is on the way' : 'it has ended')
  }
  if (job.state === 'uploading' && job.merged_into === null) {
    await sql`update jobs set cancel_requested = true where id = ${id}`.execute(tx.kysely)
    return 'uploading'
  }
  await endCancelled(store.boss, tx, job, now)
  return 'cancelled'
}

/** Ends a job as cancelled, and lets those that had merged into it do the work themselves. */
export async function endCancelled (boss: Store['boss'], tx: Tx, { id, target, lane }: Pick<JobRow, 'id' | 'target' | 'lane'>, now: Date): Promise<void> {
  await sql`update jobs set state = 'cancelled', outcome = null, merged_into = null, cancel_requested = false, next_attempt_at = null,
    finished_at = ${now}::timestamptz, timeline = timeline || ${step(now, 'cancelled', 'a caller wanted it no more')}::jsonb where id = ${id}`.execute(tx.kysely)
  const { numAffectedRows } = await sql`update jobs set merged_into = null, state = 'queued', timeline = timeline || ${step(now, 'queued', `${id}, which did the work, was cancelled`)}::jsonb
    where merged_into = ${id} and finished_at is null`.execute(tx.kysely)
  if (Number(numAffectedRows ?? 0) > 0 && target !== null && lane !== null) await wake(boss, tx, [{ target, lane }])
}
