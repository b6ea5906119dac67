import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'

const windowMs = 60_000
/** Any number that nothing else of ours locks: one count at a time, over all replicas. */
const brakeLock = 7_263_910_443

/**
 * Takes one of the deletes that events may cause within any minute, over all replicas; false if none is left. Who is
 * turned away counts too: a flood is held to its end, however many minutes it takes to look at all of it.
 */
export async function takeDelete (store: Store, now: Date, limitPerMinute: number): Promise<boolean> {
  return await store.withTx(async tx => {
    await sql`select pg_advisory_xact_lock(${brakeLock}::bigint)`.execute(tx.kysely)
    const since = new Date(now.getTime() - windowMs)
    await tx.kysely.deleteFrom('deletes').where('at', '<', since).execute()
    const { used } = await tx.kysely.selectFrom('deletes').select(eb => eb.fn.countAll<number>().as('used')).executeTakeFirstOrThrow()
    if (Number(used) < limitPerMinute) {
      await tx.kysely.insertInto('deletes').values({ at: now }).execute()
      return true
    }
    // The last ones are enough to know, so that the oldest makes room.
    await sql`update deletes set at = ${now}::timestamptz where at = (select min(at) from deletes)`.execute(tx.kysely)
    return false
  })
}
