import { sql } from 'kysely'
import { coalesce } from '../../store/coalesce.ts'
import type { Store } from '../../store/store.ts'
import type { ObjectRow } from '../../store/tables.ts'
import { claim, release, type WakeUp, type Work } from '../lanes/lanes.ts'
import { markPending, settle, type Pending, type Settled, type Settlement } from '../settle.ts'

/** What a lane has to do now, if anything, and what the ledger says of its path. */
export interface Claimed { work: Work | undefined, ledger: ObjectRow | undefined }

export interface BatchesOptions {
  store: Store
  now: () => Date
  purgeDelayMs: number
  purgeRepeat: boolean
}

/** Lanes in one transaction at most: whoever else needs the database waits for it. */
const max = 32
/** Where so many lanes are at work, further copies end within moments. */
const busyLanes = 4
const lingerMs = 25

/** What many lanes ask of the database at about the same time goes there in one transaction. */
export function createBatches ({ store, now, purgeDelayMs, purgeRepeat }: BatchesOptions) {
  let atWork = 0
  return {
    /** Takes the work of a lane; a lane without any is released. */
    claim: coalesce<{ wakeUp: WakeUp, target: string }, Claimed>(async lanes => await store.withTx(async tx => {
      const names = lanes.map(({ wakeUp }) => wakeUp.lane)
      const trip = tx.trip()
      const works = await claim(store.boss, tx, trip, names, now())
      const found = trip.add(tx.kysely.selectFrom('objects').selectAll().where('lane', '=', sql<string>`any(${names}::text[])`))
      const idle = lanes.filter(({ wakeUp }) => !works.has(wakeUp.lane))
      await trip.send({ commit: idle.length === 0 })
      for (const [target, mine] of Map.groupBy(idle, each => each.target)) await release(store.boss, tx, target, mine.map(each => each.wakeUp))
      const ledgers = new Map((await found).map(row => [row.lane, row]))
      return names.map(name => ({ work: works.get(name), ledger: ledgers.get(name) }))
    }), { max }),
    /** Counts the lanes at work. */
    begin () { atWork++ },
    end () { atWork-- },
    /** Books a verified copy and ends its lane. Nobody waits for it but the next of the same path, so it waits for others. */
    settle: coalesce<Settlement, Settled>(async settlements => await store.withTx(async tx =>
      await settle(store.boss, tx, settlements, { now: now(), purgeDelayMs, purgeRepeat })), { max, lingerMs: () => atWork > busyLanes ? lingerMs : 0 }),
    /** Writes down that first uploads may arrive. */
    markPending: coalesce<Pending, void>(async pendings => {
      await store.goAhead(async () => { await markPending(store.kysely, pendings, now()) })
      return Array.from(pendings, () => undefined)
    })
  }
}
