import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import { queueOf, type WakeUp } from './lanes.ts'

const uniqueViolation = '23505'

/** Of a wake-up that was found to be no express: it goes first among the others. */
export const largePriority = 1

/** Which wake-ups come first: those that wait longest; or what came within the last minute, latest first. */
const turns = {
  ordinary: { only: sql`true`, order: sql`wake.priority desc, wake.created_on` },
  express: { only: sql`wake.priority <= 0 and wake.created_on > pgboss.job_now() - interval '1 minute'`, order: sql`wake.priority, wake.created_on desc` }
}

/**
 * Takes up to `limit` wake-ups of a target, and none of a lane that is being worked on.
 *
 * pg-boss's own `fetch` knows busy lanes from a cache that is up to a minute old: until then a wake-up that waits
 * behind its lane fails the whole fetch, and with it every other lane; and a lane that is no longer busy is left out.
 * This is the same statement but for that, on the same indexes.
 */
export async function fetchWakeUps ({ kysely }: Store, target: string, limit: number, turn: keyof typeof turns = 'ordinary'): Promise<WakeUp[]> {
  const queue = queueOf(target)
  try {
    const { rows } = await sql<{ id: string, retry_count: number, lane: string }>`
      with next as (
        select wake.id, wake.singleton_key from pgboss.job as wake
        where wake.name = ${queue} and wake.state < 'active' and not wake.blocked and wake.start_after <= pgboss.job_now() and ${turns[turn].only}
          and not exists (
            select from pgboss.job as busy where busy.name = ${queue} and busy.state = 'active' and busy.policy = 'stately'
              and coalesce(busy.singleton_key, '') = coalesce(wake.singleton_key, '')
          )
        order by ${turns[turn].order} limit ${limit} for update of wake skip locked
      ), ranked as (
        select id, row_number() over (partition by singleton_key) as rank from next
      )
      update pgboss.job as wake set state = 'active', started_on = pgboss.job_now(), heartbeat_on = pgboss.job_now(),
        retry_count = case when started_on is null then retry_count else retry_count + 1 end
      from ranked where wake.name = ${queue} and wake.id = ranked.id and rank = 1
      returning wake.id, wake.retry_count, wake.singleton_key as lane`.execute(kysely)
    return rows.map(row => ({ queue, id: row.id, retryCount: row.retry_count, lane: row.lane }))
  } catch (error) {
    // Another replica took the other wake-up of a lane in the same moment: the next look sees it busy.
    if ((error as { code?: string }).code === uniqueViolation) return []
    throw error
  }
}
