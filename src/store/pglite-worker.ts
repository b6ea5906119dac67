import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite, types } from '@electric-sql/pglite'
import './text-decoder.ts'
import { makeCluster } from './cluster.ts'
import { DurableFs } from './durable-fs.ts'
import { commit, createStatements, isScript, rollback, type Result, type Statement } from './statements.ts'

/** Statements for the one session, and what came of them; of a failure what is known of it. */
export interface Ask { id: number, statements: readonly Statement[] }
export interface Reply { id: number, results?: Result[], error?: { message: string, code?: string, detail?: string } }

const { dir, fsyncs } = workerData as { dir: string, fsyncs: Int32Array }
const port = parentPort as NonNullable<typeof parentPort>
const pgMajor = '18'

async function open (): Promise<PGlite> {
  const versionFile = join(dir, 'PG_VERSION')
  if (!existsSync(versionFile)) await makeCluster(dir)
  const found = readFileSync(versionFile, 'utf8').trim()
  if (found !== pgMajor) throw new Error(`it was made by PostgreSQL ${found}, and this version of the service opens ${pgMajor} only. Run the version that made it, or give this one a DATA_DIR of its own.`)
  const db = await PGlite.create({
    // In a worker, exit ends the thread alone; who waits for an answer hears of that.
    fs: new DurableFs(dir, () => { Atomics.add(fsyncs, 0, 1) }, () => { process.exit(1) }),
    startParams: [...PGlite.defaultStartParams.filter(each => each !== '-F'), '-c', 'fsync=on', '-c', 'wal_sync_method=fsync', '-c', 'shared_buffers=32MB',
      // ANALYZE reads 300 rows for each: with 100, and a million jobs, it holds the only session for more than a second.
      '-c', 'default_statistics_target=10'],
    parsers: { [types.INT8]: Number }
  })
  await db.exec('create schema if not exists edgeferry; set search_path to edgeferry, public')
  // Whatever is not vacuumed bounds how many transactions there may be, and nobody ever connects to these.
  const { rows: templates } = await db.query<{ datname: string }>('select datname from pg_database where datname <> current_database()')
  for (const { datname } of templates) {
    await db.query('update pg_database set datistemplate = false where datname = $1', [datname])
    await db.exec(`drop database "${datname}"`)
  }
  const before = Atomics.load(fsyncs, 0)
  await db.exec('create table if not exists public.durability (at timestamptz); truncate public.durability; insert into public.durability values (now())')
  const { rows } = await db.query<{ fsync: string }>('show fsync')
  if (rows[0]?.fsync !== 'on' || Atomics.load(fsyncs, 0) === before) throw new Error('its writes do not reach the disk. Use PostgreSQL by DATABASE_URL instead.')
  return db
}

async function answer ({ db, run }: Open, { id, statements }: Ask): Promise<Reply> {
  try {
    const [first] = statements
    if (first === undefined || !isScript(first)) return { id, results: await run(statements) }
    const parts = await db.exec(first.text)
    return { id, results: [{ rows: parts.flatMap(each => each.rows), affected: parts.at(-1)?.affectedRows ?? 0 }] }
  } catch (cause) {
    // The next statements may be here already: they must not get into what could not be committed. In a worker, exit ends the thread alone.
    if (statements.at(-1)?.text === commit.text) await run([rollback]).catch(() => { process.exit(1) })
    const { message, code, detail } = cause as { message: string, code?: string, detail?: string }
    return { id, error: { message, ...(code === undefined ? {} : { code }), ...(detail === undefined ? {} : { detail }) } }
  }
}

interface Open { db: PGlite, run: ReturnType<typeof createStatements> }
let opened: Open | undefined
try {
  const db = await open()
  opened = { db, run: createStatements(db) }
  port.postMessage({ id: 0 } satisfies Reply)
} catch (cause) {
  port.postMessage({ id: 0, error: { message: (cause as Error).message } } satisfies Reply)
}
let turn: Promise<void> = Promise.resolve()
port.on('message', (ask: Ask | 'close') => {
  turn = turn.then(async () => {
    if (ask === 'close') {
      await opened?.db.close()
      port.close()
    } else if (opened !== undefined) port.postMessage(await answer(opened, ask))
  })
})
