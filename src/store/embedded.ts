import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Kysely, PostgresDialect } from 'kysely'
import { PgBoss } from 'pg-boss'
import { lockFolder } from './lock.ts'
import type { Ask, Reply } from './pglite-worker.ts'
import type { Result, Statement } from './statements.ts'
import { bossOptions, migrate, ping, StoreRefused, type Store, type StoreLog } from './store.ts'
import type { Tables } from './tables.ts'
import { conclude, createTransactions, poolOver } from './transaction.ts'

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
  const turns = createTurns(() => ahead.getStore() === true)
  const run = async (statements: readonly Statement[]): Promise<Result[]> => {
    writes += statements.filter(isWrite).length
    return await session.run(statements)
  }
  /** One statement of nobody's transaction, when its turn comes. */
  const runAlone = async (text: string, values: readonly unknown[] = []): Promise<Result> => {
    // The session is held by the very transaction that now asks for another one: it would wait for ever.
    if (inTx.getStore() === true) throw new Error('The store was used from inside a transaction by another handle than the transaction\'s own.')
    return await turns.take(async () => {
      try {
        return (await run([{ text, values }]))[0] ?? { rows: [], affected: 0 }
      } catch (error) {
        // What failed may be a script that began a transaction, which would spoil the one session for the next.
        await session.run([{ text: 'rollback', values: [] }]).catch(() => {})
        throw error
      }
    })
  }
  const runOutside: typeof runAlone = async (text, values) => {
    // Others' statements would get into it.
    if (text === 'begin') throw new Error('Transactions of the store begin with withTx.')
    return await runAlone(text, values)
  }
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOver(runOutside) }) })
  // A thread that cannot even roll back is dead, and `onDeath` was called.
  const transact = createTransactions({ run, discard () {} })
  await migrate(new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOver(runAlone) }) }))
  const boss = new PgBoss({
    ...bossOptions,
    backend: 'pglite',
    db: { executeSql: async (text, values) => ({ rows: (await runAlone(text, values ?? [])).rows }) }
  })
  boss.on('error', error => { log.warn({ err: error }, 'the queue reports an error') })
  await boss.start()
  let analyzeAt = firstAnalyze
  let tending = false
  /** Table after table, so that nobody waits longer than for one of them. */
  async function tend (command: string, tables: readonly string[]): Promise<void> {
    tending = true
    try {
      for (const table of tables) await runAlone(`${command} ${table}`)
    } catch (error) {
      log.warn({ err: error }, `${command} failed`)
    } finally {
      tending = false
    }
  }
  const upkeep = setInterval(() => {
    if (tending) return
    if (writes >= vacuumEvery) {
      writes = 0
      listTables(runAlone).then(async tables => { await tend('vacuum (analyze)', tables) }).catch(error => { log.warn({ err: error }, 'VACUUM failed') })
    } else if (writes >= analyzeAt) {
      analyzeAt *= 4
      tend('analyze', growing).catch(() => {})
    }
  }, 1000)
  return {
    kysely,
    boss,
    orphansAtStart: true,
    fsyncs: () => Atomics.load(fsyncs, 0),
    withTx: async (fn, { goesAhead = false } = {}) => {
      if (inTx.getStore() === true) throw new Error('A transaction was begun inside another one, which would wait for itself.')
      return await ahead.run(goesAhead, async () => await conclude(await turns.take(async () => await inTx.run(true, async () => await transact(fn))), kysely, log))
    },
    readAhead: async fn => await ahead.run(true, fn),
    ping: async () => { await ping(kysely) },
    async close () {
      clearInterval(upkeep)
      await boss.stop({ graceful: false, close: false })
      await turns.take(async () => {})
      await session.close()
      unlock()
    }
  }
}

/** The one session, as questions and answers over the thread's port. */
interface Session {
  run: (statements: readonly Statement[]) => Promise<Result[]>
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
    async run (statements) {
      if (death !== undefined) throw death
      const id = ++last
      worker.postMessage({ id, statements: statements.map(({ text, values }) => ({ text, values: [...values] })) } satisfies Ask)
      return (await expect(id)).results ?? []
    },
    async close () {
      closing = true
      worker.postMessage('close')
      await exited
    }
  }
}

const isWrite = ({ text }: Statement): boolean => /^\s*(insert|update|delete|with|merge)/i.test(text)

/** All tables that hold rows of ours or of pg-boss. */
async function listTables (run: (text: string) => Promise<Result>): Promise<string[]> {
  const { rows } = await run('select format(\'%I.%I\', schemaname, tablename) as name from pg_tables where schemaname in (\'edgeferry\', \'pgboss\', \'pg_catalog\') order by schemaname, tablename')
  return (rows as Array<{ name: string }>).map(row => row.name)
}

/** The one session is used by one after the other, and a few in a row that somebody waits for go ahead. */
function createTurns (isAhead: () => boolean) {
  let busy = false
  const waiting: Array<{ ahead: boolean, go: () => void }> = []
  let aheadInARow = 0
  function pass (): void {
    const firstOther = waiting.findIndex(each => !each.ahead)
    const [next] = waiting.splice(aheadInARow >= mostAhead && firstOther !== -1 ? firstOther : 0, 1)
    aheadInARow = next?.ahead === true ? aheadInARow + 1 : 0
    if (next === undefined) busy = false
    else next.go()
  }
  return {
    async take<T> (use: () => Promise<T>): Promise<T> {
      if (busy) {
        await new Promise<void>(resolve => {
          const ahead = isAhead()
          const place = ahead ? waiting.findIndex(each => !each.ahead) : -1
          waiting.splice(place === -1 ? waiting.length : place, 0, { ahead, go: resolve })
        })
      }
      busy = true
      try {
        return await use()
      } finally {
        pass()
      }
    }
  }
}
