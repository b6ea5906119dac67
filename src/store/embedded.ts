import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Kysely, PostgresDialect } from 'kysely'
import { PgBoss } from 'pg-boss'
import { lockFolder } from './lock.ts'
import type { Ask, Reply } from './pglite-worker.ts'
import { begin, isScript, rollback, type Result, type Statement } from './statements.ts'
import { bossOptions, migrate, ping, StoreRefused, type Store, type StoreLog, type Tx } from './store.ts'
import type { Tables } from './tables.ts'
import { conclude, createTransactions, poolOver } from './transaction.ts'
import { createUpkeep } from './upkeep.ts'

export interface EmbeddedOptions {
  dir: string
  log: StoreLog
  /** The database can no longer be used; the process should end. */
  onDeath?: (error: Error) => void
  /** Dead rows that a table may keep (2000), beside a tenth of what lives in it. */
  deadRows?: number
  /** Transactions after which a table is frozen (100,000,000). */
  freezeAge?: number
}

/** So many in a row go ahead of the others before one of those has its turn. */
const mostAhead = 4

/**
 * PostgreSQL in a worker thread, for one process: PGlite with real fsync, behind a pool of one connection. Throws
 * StoreRefused if the folder is another process's, or not one of ours.
 */
export async function embedded ({ dir, log, onDeath = () => {}, deadRows = 2000, freezeAge = 100_000_000 }: EmbeddedOptions): Promise<Store> {
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
  const inTx = new AsyncLocalStorage<true>()
  const ahead = new AsyncLocalStorage<boolean>()
  const turns = createTurns(() => ahead.getStore() === true)
  const run = async (statements: readonly Statement[]): Promise<Result[]> => {
    upkeep.wrote(statements.filter(isWrite).length)
    return await session.run(statements)
  }
  /** One statement of nobody's transaction, when its turn comes. */
  const runAlone = async (text: string, values: readonly unknown[] = []): Promise<Result> => {
    // The session is held by the very transaction that now asks for another one: it would wait for ever.
    if (inTx.getStore() === true) throw new Error('The store was used from inside a transaction by another handle than the transaction\'s own.')
    const statement = { text, values }
    const mayLeaveOpen = isScript(statement)
    return await turns.take(async pass => {
      const answer = run([statement])
      if (!mayLeaveOpen) pass()
      try {
        return (await answer)[0] ?? { rows: [], affected: 0 }
      } catch (error) {
        // It may have begun a transaction, which would spoil the one session for the next.
        if (mayLeaveOpen) await session.run([rollback]).catch(() => {})
        throw error
      }
    })
  }
  const upkeep = createUpkeep({ run: runAlone, log, deadRows, freezeAge })
  const runOutside: typeof runAlone = async (text, values) => {
    // Others' statements would get into it.
    if (text === begin.text) throw new Error('Transactions of the store begin with withTx.')
    return await runAlone(text, values)
  }
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOver(runOutside) }) })
  // A thread that cannot even roll back is dead, and `onDeath` was called.
  const connection = { run, discard () {} }
  const idle: Array<ReturnType<typeof createTransactions>> = []
  /** Begins in its turn, and lets the next one begin as soon as its own last statements are on their way. */
  async function transact<T> (fn: (tx: Tx) => Promise<T>) {
    const handle = idle.pop() ?? createTransactions(connection)
    try {
      return await turns.take(async pass => await inTx.run(true, async () => await handle(fn, pass)))
    } finally {
      idle.push(handle)
    }
  }
  await migrate(new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOver(runAlone) }) }))
  const boss = new PgBoss({
    ...bossOptions,
    backend: 'pglite',
    db: { executeSql: async (text, values) => ({ rows: (await runAlone(text, values ?? [])).rows }) }
  })
  boss.on('error', error => { log.warn({ err: error }, 'the queue reports an error') })
  await boss.start()
  const looks = setInterval(upkeep.look, 1000)
  return {
    kysely,
    boss,
    orphansAtStart: true,
    fsyncs: () => Atomics.load(fsyncs, 0),
    withTx: async (fn, { goesAhead = false } = {}) => {
      if (inTx.getStore() === true) throw new Error('A transaction was begun inside another one, which would wait for itself.')
      return await ahead.run(goesAhead, async () => await conclude(await transact(fn), kysely, log))
    },
    goAhead: async fn => await ahead.run(true, fn),
    ping: async () => { await ping(kysely) },
    async close () {
      clearInterval(looks)
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

/**
 * The one session is used by one after the other, and a few in a row that somebody waits for go ahead. The next may begin
 * when the last statements of one are on their way, or the session would wait for us between any two; but only one whose
 * answer is not here yet may have passed its turn on: whoever goes ahead cannot overtake what is on its way.
 */
function createTurns (isAhead: () => boolean) {
  let busy = false
  const waiting: Array<{ ahead: boolean, go: () => void }> = []
  let aheadInARow = 0
  /** Somebody passed the turn on and waits for an answer; who has the turn would pass it on as soon as that is here. */
  let isUnanswered = false
  let pass: (() => void) | undefined
  function next (): void {
    const firstOther = waiting.findIndex(each => !each.ahead)
    const [whoIsNext] = waiting.splice(aheadInARow >= mostAhead && firstOther !== -1 ? firstOther : 0, 1)
    aheadInARow = whoIsNext?.ahead === true ? aheadInARow + 1 : 0
    if (whoIsNext === undefined) busy = false
    else whoIsNext.go()
  }
  return {
    /** The turn ends with `use`, or when that passes it on. */
    async take<T> (use: (pass: () => void) => Promise<T>): Promise<T> {
      if (busy) {
        await new Promise<void>(resolve => {
          const ahead = isAhead()
          const place = ahead ? waiting.findIndex(each => !each.ahead) : -1
          waiting.splice(place === -1 ? waiting.length : place, 0, { ahead, go: resolve })
        })
      }
      busy = true
      let isMine = true
      const passOn = (): void => {
        if (!isMine) return
        if (isUnanswered) {
          pass = passOn
          return
        }
        isMine = false
        isUnanswered = true
        next()
      }
      try {
        return await use(passOn)
      } finally {
        if (isMine) {
          isMine = false
          pass = undefined
          next()
        } else {
          isUnanswered = false
          const whoWaits = pass
          pass = undefined
          whoWaits?.()
        }
      }
    }
  }
}
