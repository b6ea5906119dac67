import type { Result } from './statements.ts'
import type { StoreLog } from './store.ts'

export interface UpkeepOptions {
  /** Runs one statement, in a transaction of its own. */
  run: (text: string, values?: readonly unknown[]) => Promise<Result>
  log: StoreLog
  /** Dead rows that any table may keep, beside a tenth of what lives in it. */
  deadRows: number
  /** Transactions after which a table is frozen. */
  freezeAge: number
}

/** Writes between two looks at the counters: there are some hundred tables to look at. */
const writesBetween = 100

/**
 * What autovacuum does in a server, which a single session has not: by the same counters and the same rules, it gives
 * dead rows back and lets the planner know how tables grew. Only what is due, and table after table, because nobody else
 * is served meanwhile: with a million jobs, one VACUUM of them takes more than half a second.
 */
export function createUpkeep ({ run, log, deadRows, freezeAge }: UpkeepOptions) {
  let writes = 0
  let tending = false
  const warn = (error: unknown): void => { log.warn({ err: error }, 'VACUUM or ANALYZE failed') }

  async function tend (): Promise<void> {
    // The counters of the last second are counted only when they are asked for.
    await run('select pg_stat_force_next_flush()')
    const { rows } = await run(due, [deadRows, freezeAge])
    for (const { command } of rows as Array<{ command: string }>) await run(command).catch(warn)
  }

  return {
    wrote (statements: number): void { writes += statements },
    /** To be called now and then. */
    look (): void {
      if (tending || writes < writesBetween) return
      tending = true
      writes = 0
      tend().catch(warn).finally(() => { tending = false })
    }
  }
}

/**
 * The tables that need it, with the command. Until its first ANALYZE the planner takes a table for empty; and no row may
 * stay unfrozen for so long that transactions run out of numbers, not even in a table that never changes: a VACUUM that
 * is not told to freeze passes over pages which all can see.
 */
const due = `
  select case when is_old then 'vacuum (freeze, analyze) ' when has_dead then 'vacuum (analyze) ' else 'analyze ' end || format('%I.%I', schemaname, relname) as command
  from (
    select schemaname, stat.relname, age(relfrozenxid) > $2::int as is_old, n_dead_tup > $1::int + lives / 10 as has_dead,
      n_mod_since_analyze > case when reltuples < 0 then 200 else 1000 end + lives * 0.3 as has_grown
    from pg_stat_all_tables as stat join pg_class on pg_class.oid = relid cross join lateral greatest(reltuples, 0) as lives
    where relkind = 'r' and schemaname <> 'pg_toast'
  ) as tables where is_old or has_dead or has_grown order by 1`
