import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { PgBoss } from 'pg-boss'
import { commit, rollback, type Result } from './statements.ts'
import { bossOptions, migrate, ping, StoreRefused, type Store, type StoreLog, type Tx } from './store.ts'
import type { Tables } from './tables.ts'
import { conclude, createTransactions, type Connection } from './transaction.ts'

const int8 = 20
/** Any number that no other user of the database takes for an advisory lock. */
const startLock = 7_263_910_442

export interface PostgresOptions {
  url: string
  log: StoreLog
  /** Connections at most. */
  max?: number
  /** After which the server ends a transaction that stands still, and frees what it locked: its replica may be frozen. */
  idleInTransactionMs?: number
}

/** A PostgreSQL server that any number of replicas share. Throws StoreRefused if it cannot be reached or used. */
export async function postgres ({ url, log, max = 10, idleInTransactionMs = 10_000 }: PostgresOptions): Promise<Store> {
  if (!URL.canParse(url)) throw new StoreRefused('DATABASE_URL is not a valid URL: escape what is special in user name and password, such as # as %23.')
  const pool = new pg.Pool({
    connectionString: url,
    max,
    connectionTimeoutMillis: 5000,
    // Compiling a statement takes longer than any of ours may run.
    options: `-c search_path=edgeferry,public -c jit=off -c idle_in_transaction_session_timeout=${idleInTransactionMs}`,
    types: { getTypeParser: (oid: number, format?: 'text' | 'binary') => oid === int8 ? Number : pg.types.getTypeParser(oid, format as 'text') }
  })
  pool.on('error', error => { log.warn({ err: error }, 'a database connection broke') })
  // The pool hears only of connections that nobody holds; one that breaks between two statements would end the process.
  pool.on('connect', client => { client.on('error', () => {}) })
  const transactions = new WeakMap<pg.PoolClient, ReturnType<typeof createTransactions>>()
  const lost = new WeakSet<pg.PoolClient>()
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  const boss = new PgBoss({ ...bossOptions, db: { executeSql: async (text, values) => await pool.query(text, values) } })
  boss.on('error', error => { log.warn({ err: error }, 'the queue reports an error') })
  // Replicas that start together would trip over each other's CREATE statements: one after the other.
  const starter = await pool.connect().catch(async cause => {
    await pool.end()
    throw new StoreRefused(`PostgreSQL at ${new URL(url).host} cannot be used: ${words(cause)}. Check DATABASE_URL, and that the server runs and lets this service in.`, { cause })
  })
  try {
    await starter.query('select pg_advisory_lock($1)', [startLock])
    await starter.query('create schema if not exists edgeferry')
    await migrate(kysely)
    await boss.start()
  } finally {
    // Ends the session, and the lock with it.
    starter.release(true)
  }
  async function transactOver<T> (fn: (tx: Tx) => Promise<T>) {
    const client = await pool.connect()
    const transact = transactions.get(client) ?? createTransactions(connectionOver(client, () => { lost.add(client) }))
    transactions.set(client, transact)
    try {
      return await transact(fn)
    } finally {
      client.release(lost.has(client))
    }
  }
  return {
    kysely,
    boss,
    orphansAtStart: false,
    fsyncs: () => undefined,
    withTx: async fn => await conclude(await transactOver(fn), kysely, log),
    goAhead: async fn => await fn(),
    ping: async () => { await ping(kysely) },
    async close () {
      await boss.stop({ graceful: false, close: false })
      await kysely.destroy()
    }
  }
}

/** A session of the server: it takes statements one by one, and what follows a failed one is not sent. */
function connectionOver (client: pg.PoolClient, discard: () => void): Connection {
  return {
    discard,
    async run (statements) {
      const results: Result[] = []
      try {
        for (const { text, values } of statements) {
          const { rows, rowCount } = await client.query(text, [...values])
          results.push({ rows, affected: rowCount ?? 0 })
        }
      } catch (error) {
        if (statements.at(-1)?.text === commit.text) await client.query(rollback.text).catch(discard)
        throw error
      }
      return results
    }
  }
}

/** Where a name has several addresses, the message is empty and the code says it all. */
function words ({ message, code }: Error & { code?: string }): string {
  return message === '' ? code ?? 'no reason given' : message
}
