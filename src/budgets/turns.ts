import { sql } from 'kysely'
import type { Store } from '../store/store.ts'
import { adapt, beginRate, type Rate, type Report } from './rate.ts'

/** Permits for requests: the first may be used after `waitMs` (less than 0: it was late in coming), each further one `spacingMs` later. */
export interface Turns { count: number, waitMs: number, spacingMs: number, perSecond: number }

/** Hands out the turns of one storage group, and learns from what became of the last ones. */
export type TakeTurns = (wanted: number, report: Report) => Promise<Turns>

/** No one takes more at a time than what is due within so long: others want turns, too. */
const mostAheadMs = 1_000
/** What is further ahead was written by a clock that has been put back. */
const soonMs = 60_000

interface State { rate: Rate, nextAt: number }

/** Takes turns off a state, pure: what is handed out, and the state from then on. */
export function hand ({ rate, nextAt }: State, wanted: number, report: Report, ceiling: number, now: number): { turns: Turns, state: State } {
  const next = adapt(rate, report, ceiling, now)
  const spacingMs = 1000 / next.perSecond
  const startAt = nextAt > now + soonMs ? now : Math.max(nextAt, now)
  const count = Math.max(1, Math.min(wanted, Math.floor(mostAheadMs / spacingMs)))
  return { turns: { count, waitMs: startAt - now, spacingMs, perSecond: next.perSecond }, state: { rate: next, nextAt: startAt + count * spacingMs } }
}

/** Turns for a process that shares its storage group with no other. */
export function turnsInMemory (ceiling: number, now: () => number): TakeTurns {
  let state: State = { rate: beginRate(ceiling, now()), nextAt: 0 }
  return async (wanted, report) => {
    const handed = hand(state, wanted, report, ceiling, now())
    state = handed.state
    return handed.turns
  }
}

/** How old a reading of the database's clock may be: clocks drift, and may be set. */
const freshMs = 10_000
const mostReadings = 32

/**
 * How long before our clock shows a moment of the database's. An answer may take its time, so of the last readings the one
 * that came most quickly counts: what a single answer took would be added to its turns, other replicas would know nothing
 * of it, and together they would crowd a second.
 */
export function createOffset (now: () => number): (theirs: number) => number {
  let readings: Array<{ at: number, offset: number }> = []
  return theirs => {
    const at = now()
    readings = [...readings.filter(each => at - each.at < freshMs).slice(1 - mostReadings), { at, offset: at - theirs }]
    return Math.min(...readings.map(each => each.offset))
  }
}

/**
 * Turns that all replicas on one database share. Its clock alone counts: those of the replicas may differ, so an answer
 * says how long to wait, never until when. What passes until the answer is here has been waited for already; turns that
 * would be over by then are not taken.
 */
export function turnsInDatabase ({ withTx }: Pick<Store, 'withTx'>, name: string, ceiling: number): TakeTurns {
  const clock = sql<number>`extract(epoch from clock_timestamp())::float8 * 1000`.as('now')
  const offsetOf = createOffset(() => performance.now())
  let lags: number[] = []
  return async (wanted, report) => {
    const leadMs = Math.max(0, ...lags)
    const { turns, readAt } = await withTx(async ({ kysely }) => {
      const lock = kysely.selectFrom('budgets').selectAll().select(clock).where('name', '=', name).forUpdate()
      let row = await lock.executeTakeFirst()
      if (row === undefined) {
        const begun = toRow({ rate: beginRate(ceiling, Date.now()), nextAt: 0 })
        await kysely.insertInto('budgets').values({ name, ...begun }).onConflict(conflict => conflict.doNothing()).execute()
        row = await lock.executeTakeFirstOrThrow()
      }
      const { now } = row
      const readAt = now + offsetOf(now)
      const { rate, nextAt } = fromRow(row)
      const { turns, state } = hand({ rate, nextAt: Math.max(nextAt, now + leadMs) }, wanted, report, ceiling, now)
      await kysely.updateTable('budgets').set(toRow(state)).where('name', '=', name).execute()
      return { turns, readAt }
    })
    const lag = performance.now() - readAt
    lags = [...lags.slice(-7), Math.min(lag, mostAheadMs)]
    return { ...turns, waitMs: turns.waitMs - lag }
  }
}

interface Row { per_second: number, refused: number | null, good: number | null, cut_at: number, probe_at: number, used_at: number, next_at: number }

const toRow = ({ rate, nextAt }: State): Row =>
  ({ per_second: rate.perSecond, refused: rate.refused, good: rate.good, cut_at: Math.max(0, rate.cutAt), probe_at: rate.probeAt, used_at: rate.usedAt, next_at: nextAt })

const fromRow = (row: Row): State =>
  ({ rate: { perSecond: row.per_second, refused: row.refused, good: row.good, cutAt: row.cut_at, probeAt: row.probe_at, usedAt: row.used_at }, nextAt: row.next_at })
