import { rmSync } from 'node:fs'
import { sql } from 'kysely'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'

/** The service on a disk that loses its write-ahead log: PostgreSQL panics at the next write. */
const config = loadConfig(process.env)
const app = await buildApp(config)
rmSync(`${config.dataDir}/database/pg_wal`, { recursive: true })
await sql`select pg_switch_wal()`.execute(app.clients.store.kysely)
await sql`create table nothing (n int)`.execute(app.clients.store.kysely).catch(() => {})
