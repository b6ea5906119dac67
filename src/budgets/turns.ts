import { sql } from 'kysely'
import type { Store } from '../store/store.ts'
import { adapt, beginRate, type Rate, type Report } from './rate.ts'

/** Permits for requests: the first may be used after `waitMs`, each further one `spacingMs` later. */
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

/**
 * Turns that all replicas on one database share. Its clock alone counts: those of the replicas may differ, so an answer
 * says how long to wait, never until when.
 */
export function turnsInDatabase ({ withTx }: Pick<Store, 'withTx'>, name: string, ceiling: number): TakeTurns {
  const now = sql<number>`extract(epoch from clock_timestamp())::float8 * 1000`.as('now')
  return async (wanted, report) => await withTx(async ({ kysely }) => {
    const lock = kysely.selectFrom('budgets').selectAll().select(now).where('name', '=', name).forUpdate()
    let row = await lock.executeTakeFirst()
    if (row === undefined) {
      const begun = toRow({ rate: beginRate(ceiling, Date.now()), nextAt: 0 })
      await kysely.insertInto('budgets').values({ name, ...begun }).onConflict(conflict => conflict.doNothing()).execute()
      row = await lock.executeTakeFirstOrThrow()
    }
    const { turns, state } = hand(fromRow(row), wanted, report, ceiling, row.now)
    await kysely.updateTable('budgets').set(toRow(state)).where('name', '=', name).execute()
    return turns
  })
}

interface Row { per_second: number, refused: number | null, good: number | null, cut_at: number, probe_at: number, used_at: number, next_at: number }

const toRow = ({ rate, nextAt }: State): Row =>
  ({ per_second: rate.perSecond, refused: rate.refused, good: rate.good, cut_at: Math.max(0, rate.cutAt), probe_at: rate.probeAt, used_at: rate.usedAt, next_at: nextAt })

const fromRow = (row: Row): State =>
  ({ rate: { perSecond: row.per_second, refused: row.refused, good: row.good, cutAt: row.cut_at, probeAt: row.probe_at, usedAt: row.used_at }, nextAt: row.next_at })
