import type { PgBoss } from 'pg-boss'
import { sql, type Compilable, type Kysely, type RawBuilder } from 'kysely'
import { Migrator } from 'kysely/migration'
import { migrations } from './migrations.ts'
import type { Tables } from './tables.ts'

/** What pg-boss asks of a database: one function. */
export type BossDatabase = NonNullable<NonNullable<Parameters<PgBoss['insert']>[2]>['db']>

/** One transaction, for our tables and for pg-boss alike: pass `db` to every pg-boss call inside. */
export interface Tx {
  kysely: Kysely<Tables>
  db: BossDatabase
  /** Statements that need not wait for each other's answers. */
  trip: () => Trip
  /** Does something right after the commit, before `withTx` resolves. It may fail, or never come about: something else must make up for it. */
  afterCommit: (act: Afterwards) => void
}

/** What is done after a commit, by a handle of nobody's transaction. */
export type Afterwards = (kysely: Kysely<Tables>) => Promise<void>

/**
 * Statements of a transaction that go to the database together: to the embedded one in one message, where each costs two
 * threads their sleep. What `add` and `boss` return comes when `send` was called; before that it must not be awaited.
 */
export interface Trip {
  add: <R>(query: Compilable<R> | RawBuilder<R>) => Promise<R[]>
  /** A call of pg-boss that asks the database once. */
  boss: <T>(call: (db: BossDatabase) => Promise<T>) => Promise<T>
  /** Rejects with the first error; what comes after it is not run. With `commit` the transaction ends here. */
  send: (options?: { commit?: boolean }) => Promise<void>
}

/** The database, whichever maker made it; nothing above knows which. */
export interface Store {
  kysely: Kysely<Tables>
  boss: PgBoss
  /**
   * Commits when `fn` resolves. Nothing else of the store may be awaited inside: the embedded one would wait for itself,
   * and throws instead. Where somebody waits for the answer it may go ahead of those that wait for the embedded one's
   * only session; one at a time, or the others would never have their turn.
   */
  withTx: <T>(fn: (tx: Tx) => Promise<T>, options?: { goesAhead?: boolean }) => Promise<T>
  /** Runs what takes a moment and somebody waits for: a few in a row go ahead of those that wait for the embedded one's only session. */
  goAhead: <T>(fn: () => Promise<T>) => Promise<T>
  /** The database is this process's alone, so whatever was active before the start has no worker any more. */
  orphansAtStart: boolean
  /** How often the database made the disk keep what it wrote; undefined where another process does that. */
  fsyncs: () => number | undefined
  /** Rejects if the database does not answer within two seconds. */
  ping: () => Promise<void>
  close: () => Promise<void>
}

/** The database cannot be used as it is; the message says why and what to do, and holds no secret. */
export class StoreRefused extends Error {
  override readonly name = 'StoreRefused'
}

/** Where warnings of the store go. */
export interface StoreLog { info: (fields: object, message: string) => void, warn: (fields: object, message: string) => void, error: (fields: object, message: string) => void }

/** How both makers set pg-boss up; a lost heartbeat is found within its seconds plus the monitor's. */
export const bossOptions = { schema: 'pgboss', schedule: false, monitorIntervalSeconds: 5, superviseIntervalSeconds: 5, queueCacheIntervalSeconds: 60, reindex: false } as const

/** Brings the tables up to date; replicas that start together wait for one another. */
export async function migrate (kysely: Kysely<Tables>): Promise<void> {
  const migrator = new Migrator({ db: kysely, provider: { getMigrations: async () => migrations }, migrationTableSchema: 'edgeferry' })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) throw new StoreRefused(`The database could not be brought up to date: ${(error as Error).message}`, { cause: error })
}

/** Asks for the smallest answer there is, and gives up after two seconds. */
export async function ping (kysely: Kysely<Tables>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => { reject(new Error('the database did not answer within 2 s')) }, 2000) })
  try {
    await Promise.race([sql`select 1`.execute(kysely), late])
  } finally {
    clearTimeout(timer)
  }
}
