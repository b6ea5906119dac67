import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import { queueOf } from './lanes.ts'

/** After which a silent worker loses its lanes. */
export const defaultHeartbeatSeconds = 15
/** pg-boss takes no queue with less. */
const leastHeartbeatSeconds = 10

/**
 * Makes the queue of wake-ups of each target where it is not there yet. Whoever stores jobs needs them, also a replica
 * that never runs one and starts before the first that does.
 */
export async function openQueues ({ boss }: Store, targets: Iterable<string>, heartbeatSeconds = defaultHeartbeatSeconds): Promise<void> {
  for (const target of targets) {
    const queue = queueOf(target)
    if (await boss.getQueue(queue) === null) {
      await boss.createQueue(queue, {
        policy: 'stately', retryLimit: 1_000_000, retryDelay: 0, heartbeatSeconds: Math.max(leastHeartbeatSeconds, heartbeatSeconds), expireInSeconds: 86_399, retentionSeconds: 31_536_000, deleteAfterSeconds: 60
      })
    }
    // pg-boss looks a queue up once, and inside a transaction it would wait for itself.
    await boss.fetch(queue, { batchSize: 1, ignoreStartAfter: false, minPriority: 1_000_000_000 })
  }
}

/** Every target that ever had a queue, also those that no rule names any more. */
export async function listQueues ({ kysely }: Store): Promise<string[]> {
  const { rows } = await sql<{ target: string }>`select substr(name, length(${queueOf('')}) + 1) as target from pgboss.queue where starts_with(name, ${queueOf('')})`.execute(kysely)
  return rows.map(row => row.target)
}

/** Targets that are none of these, and yet have work that waits. */
export async function findStrays ({ kysely }: Store, targets: string[]): Promise<string[]> {
  const { rows } = await sql<{ target: string }>`select substr(name, length(${queueOf('')}) + 1) as target from pgboss.queue
    where starts_with(name, ${queueOf('')}) and name <> all(${targets.map(queueOf)}::text[])
    and exists (select from pgboss.job where job.name = queue.name and job.state < 'active')`.execute(kysely)
  return rows.map(row => row.target)
}
