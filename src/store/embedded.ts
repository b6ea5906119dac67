import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import { PgBoss } from 'pg-boss'
import { lockFolder } from './lock.ts'
import type { Ask, Reply } from './pglite-worker.ts'
import { bossDatabase, bossOptions, migrate, ping, StoreRefused, type Store, type StoreLog } from './store.ts'
import type { Tables } from './tables.ts'

export interface EmbeddedOptions {
  dir: string
  log: StoreLog
  /** The database can no longer be used; the process should end. */
  onDeath?: (error: Error) => void
  /** Statements that write between two VACUUMs: a single session has no autovacuum. */
  vacuumEvery?: number
}

/** Tables that grow with the work, and the writes after which the planner first learns of it: until then it takes them for empty. */
const growing = ['edgeferry.jobs', 'edgeferry.hints', 'edgeferry.objects', 'edgeferry.debts', 'pgboss.job_common']
const firstAnalyze = 200

/** So many in a row go ahead of the others before one of those has its turn. */
const mostAhead = 4

/**
 * PostgreSQL in a worker thread, for one process: PGlite with real fsync, behind a pool of one connection. Throws
 * StoreRefused if the folder is another process's, or not one of ours.
 */
export async function embedded ({ dir, log, onDeath = () => {}, vacuumEvery = 20_000 }: EmbeddedOptions): Promise<Store> {
  const root = resolve(dir)
  mkdirSync(root, { recursive: true })
  const unlock = lockFolder(join(root, 'database'))
  const fsyncs = new Int32Array(new SharedArrayBuffer(4))
  let session: Session
  try {
    session = await startSession(join(root, 'database'), fsyncs, onDeath)
  } catch (error) {
    unlock()
    throw error
  }
  let writes = 0
  const inTx = new AsyncLocalStorage<true>()
  const ahead = new AsyncLocalStorage<boolean>()
  const pool = createPool(session, () => inTx.getStore() === true, () => ahead.getStore() === true, () => { writes++ })
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  await migrate(kysely)
  const run = async (text: string, values?: unknown[]) => {
    const client = await pool.connect()
    try {
      return await client.query<Record<string, unknown>>(text, (values ?? []) as readonly unknown[])
    } finally {
      client.release()
    }
  }
  const boss = new PgBoss({
    ...bossOptions,
    backend: 'pglite',
    db: { executeSql: async (text, values) => ({ rows: [...(await run(text, values)).rows] }) }
  })
  boss.on('error', error => { log.warn({ err: error }, 'the queue reports an error') })
  await boss.start()
  let analyzeAt = firstAnalyze
  const vacuum = setInterval(() => {
    if (writes >= vacuumEvery) {
      writes = 0
      run('vacuum (analyze)').catch(error => { log.warn({ err: error }, 'VACUUM failed') })
    } else if (writes >= analyzeAt) {
      analyzeAt *= 4
      run(`analyze ${growing.join()}`).catch(error => { log.warn({ err: error }, 'ANALYZE failed') })
    }
  }, 1000)
  return {
    kysely,
    boss,
    orphansAtStart: true,
    fsyncs: () => Atomics.load(fsyncs, 0),
    withTx: async (fn, { goesAhead = false } = {}) => await ahead.run(goesAhead, async () =>
      await kysely.transaction().execute(async tx => await inTx.run(true, async () => await fn({ kysely: tx, db: bossDatabase(tx) })))),
    readAhead: async fn => await ahead.run(true, fn),
    ping: async () => { await ping(kysely) },
    async close () {
      clearInterval(vacuum)
      await boss.stop({ graceful: false, close: false })
      await kysely.destroy()
      await session.close()
      unlock()
    }
  }
}

/** The one session, as questions and answers over the thread's port. */
interface Session {
  /** `begin` starts a transaction first. */
  ask: (text: string, values: readonly unknown[], begin?: boolean) => Promise<Reply>
  close: () => Promise<void>
}

async function startSession (dir: string, fsyncs: Int32Array, onDeath: (error: Error) => void): Promise<Session> {
  mkdirSync(dirname(dir), { recursive: true })
  const worker = new Worker(new URL('./pglite-worker.ts', import.meta.url), { workerData: { dir, fsyncs } })
  const pending = new Map<number, { resolve: (reply: Reply) => void, reject: (error: Error) => void }>()
  let last = 0
  let closing = false
  const expect = async (id: number) => await new Promise<Reply>((resolve, reject) => { pending.set(id, { resolve, reject }) })
  worker.on('message', (reply: Reply) => {
    const waiting = pending.get(reply.id)
    pending.delete(reply.id)
    if (reply.error === undefined) waiting?.resolve(reply)
    else waiting?.reject(Object.assign(new Error(reply.error.message), reply.error))
  })
  let death: Error | undefined
  const die = (error: Error): void => {
    if (death !== undefined) return
    death = error
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
    if (!closing) onDeath(error)
  }
  worker.on('error', die)
  const exited = new Promise<void>(resolve => {
    worker.on('exit', code => {
      die(new Error(`the database thread ended with code ${code}`))
      resolve()
    })
  })
  try {
    await expect(0)
  } catch (error) {
    closing = true
    await worker.terminate()
    throw new StoreRefused(`The embedded database in ${dir} cannot be opened: ${(error as Error).message}`, { cause: error })
  }
  return {
    async ask (text, values, begin = false) {
      if (death !== undefined) throw death
      const id = ++last
      worker.postMessage({ id, text, values: [...values], begin } satisfies Ask)
      return await expect(id)
    },
    async close () {
      closing = true
      worker.postMessage('close')
      await exited
    }
  }
}

/** A pool of one: whoever connects holds the session until release, so a transaction is never mixed with others. */
function createPool (session: Session, isInTx: () => boolean, isAhead: () => boolean, onWrite: () => void): PostgresPool {
  let busy = false
  const waiting: Array<{ ahead: boolean, go: () => void }> = []
  let aheadInARow = 0
  const release = (): void => {
    const firstOther = waiting.findIndex(each => !each.ahead)
    const [next] = waiting.splice(aheadInARow >= mostAhead && firstOther !== -1 ? firstOther : 0, 1)
    aheadInARow = next?.ahead === true ? aheadInARow + 1 : 0
    if (next === undefined) busy = false
    else next.go()
  }
  const acquire = async (): Promise<void> => {
    if (!busy) {
      busy = true
      return
    }
    await new Promise<void>(resolve => {
      const ahead = isAhead()
      const place = ahead ? waiting.findIndex(each => !each.ahead) : -1
      waiting.splice(place === -1 ? waiting.length : place, 0, { ahead, go: resolve })
    })
  }
  return {
    options: {},
    async connect () {
      // The session is held by the very transaction that now asks for another one: it would wait for ever.
      if (isInTx()) throw new Error('The store was used from inside a transaction by another handle than the transaction\'s own.')
      await acquire()
      let broken = false
      let begins = false
      return {
        async query (text: unknown, values: readonly unknown[] = []) {
          const statement = text as string
          // A transaction begins with its first statement: one trip to the thread less.
          if (statement === 'begin') {
            begins = true
            return { command: 'BEGIN', rowCount: 0, rows: [] }
          }
          const begin = begins
          begins = false
          const { rows, affected } = await session.ask(statement, values, begin).catch(error => {
            broken = true
            throw error
          })
          const command = (/^\s*(\w+)/.exec(statement)?.[1] ?? '').toUpperCase()
          if (/^(INSERT|UPDATE|DELETE|WITH|MERGE)$/.test(command)) onWrite()
          return { command, rowCount: command === 'SELECT' ? (rows?.length ?? 0) : affected ?? 0, rows: rows ?? [] }
        },
        release () {
          // What failed may have left the one session in an aborted transaction, which would spoil it for the next.
          if (!broken) release()
          else session.ask('rollback', []).catch(() => {}).finally(release)
        }
      } as unknown as PostgresPoolClient
    },
    async end () {
      await acquire()
      release()
    }
  }
}
