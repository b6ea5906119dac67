import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { PgBoss } from 'pg-boss'
import { bossDatabase, bossOptions, migrate, ping, type Store, type StoreLog } from './store.ts'
import type { Tables } from './tables.ts'

const int8 = 20

/** A PostgreSQL server that any number of replicas share. */
export async function postgres ({ url, log, max = 10 }: { url: string, log: StoreLog, max?: number }): Promise<Store> {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    connectionTimeoutMillis: 5000,
    options: '-c search_path=edgeferry,public',
    types: { getTypeParser: (oid: number, format?: 'text' | 'binary') => oid === int8 ? Number : pg.types.getTypeParser(oid, format as 'text') }
  })
  pool.on('error', error => { log.warn({ err: error }, 'a database connection broke') })
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  await sql`create schema if not exists edgeferry`.execute(kysely).catch(async error => {
    // Two replicas that start together can collide here; the schema is there then.
    if (error.code !== '23505' && error.code !== '42P06') throw error
  })
  await migrate(kysely)
  const boss = new PgBoss({ ...bossOptions, db: { executeSql: async (text, values) => await pool.query(text, values) } })
  boss.on('error', error => { log.warn({ err: error }, 'the queue reports an error') })
  await boss.start()
  return {
    kysely,
    boss,
    orphansAtStart: false,
    fsyncs: () => undefined,
    withTx: async fn => await kysely.transaction().execute(async tx => await fn({ kysely: tx, db: bossDatabase(tx) })),
    ping: async () => { await ping(kysely) },
    async close () {
      await boss.stop({ graceful: false, close: false })
      await kysely.destroy()
    }
  }
}
