import { Kysely, PostgresDialect, type Compilable, type PostgresPool, type PostgresPoolClient, type RawBuilder } from 'kysely'
import { begin, commit, rollback, type Result, type Statement } from './statements.ts'
import type { Afterwards, BossDatabase, StoreLog, Trip, Tx } from './store.ts'
import type { Tables } from './tables.ts'

/** One session of the database, held by one transaction at a time. */
export interface Connection {
  /**
   * Runs statements in order, in as few trips as it can; rejects with the first error, and runs none after it. They are on
   * their way when it returns. Where the last is the commit, no transaction is open afterwards, whatever came of it.
   */
  run: (statements: readonly Statement[]) => Promise<Result[]>
  /** A transaction could not even be rolled back: nobody may use this session any more. */
  discard: () => void
}

type State = 'new' | 'open' | 'failed' | 'committing' | 'committed' | 'lost'

/** What one transaction knows of itself. */
interface Course {
  run: (statements: readonly Statement[], isLast?: boolean) => Promise<Result[]>
  after: Afterwards[]
}

/** What a transaction came to, and what is to be done when the session is free again. */
interface Outcome<T> { result: T, after: Afterwards[] }

/**
 * Transactions over one session, one at a time: each begins with its first statement and may commit with its last ones,
 * so that it takes no trip more than its own statements do. `onLast` is called when the last ones are on their way: what
 * others send to the session from then on comes after them.
 */
export function createTransactions (connection: Connection): <T>(fn: (tx: Tx) => Promise<T>, onLast?: () => void) => Promise<Outcome<T>> {
  let current: Course | undefined
  const run: Course['run'] = async (statements, isLast) => {
    if (current === undefined) throw new Error('A transaction was used after its end.')
    return await current.run(statements, isLast)
  }
  const runOne = async (text: string, values: readonly unknown[]): Promise<Result> => (await run([{ text, values }]))[0] ?? { rows: [], affected: 0 }
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOver(runOne) }) })
  const db: BossDatabase = { executeSql: async (text, values) => ({ rows: (await runOne(text, values ?? [])).rows }) }
  const tx: Tx = { kysely, db, trip: () => createTrip(kysely, run), afterCommit (act) { current?.after.push(act) } }

  return async (fn, onLast = () => {}) => {
    let state: State = 'new'
    const is = (...wanted: State[]): boolean => wanted.includes(state)
    /** Settles when all that was sent is answered, and `state` says what came of it. */
    let answered: Promise<unknown> = Promise.resolve()
    async function send (statements: readonly Statement[], isLast: boolean): Promise<Result[]> {
      // Once the commit is on its way, the session belongs to the next one.
      if (!is('new', 'open')) throw new Error(is('failed') ? 'A transaction was used after one of its statements had failed.' : 'A transaction was used after its commit.')
      const isFirst = is('new')
      if (isFirst && statements.length === 0) return []
      state = isLast ? 'committing' : 'open'
      try {
        if (isLast) await answered
        if (is('failed')) throw new Error('A statement of the transaction failed before its commit.')
        const sent = connection.run([...(isFirst ? [begin] : []), ...statements, ...(isLast ? [commit] : [])])
        if (isLast) onLast()
        const results = await sent
        if (isLast) state = 'committed'
        return results.slice(isFirst ? 1 : 0, statements.length + (isFirst ? 1 : 0))
      } catch (error) {
        if (!is('failed')) state = isLast ? 'lost' : 'failed'
        throw error
      }
    }
    const course: Course = current = {
      after: [],
      async run (statements, isLast = false) {
        const done = send(statements, isLast)
        answered = Promise.allSettled([answered, done])
        return await done
      }
    }
    try {
      const result = await fn(tx)
      await answered
      // PostgreSQL would answer a commit by a silent rollback.
      if (is('failed', 'lost')) throw new Error('A statement of the transaction failed, and nobody said so.')
      if (is('open')) await course.run([], true)
      return { result, after: course.after }
    } catch (error) {
      await answered
      if (is('open', 'failed')) await connection.run([rollback]).catch(() => { connection.discard() })
      throw error
    } finally {
      current = undefined
    }
  }
}

/** What Kysely wants for a pool, over whatever runs one statement. */
export function poolOver (run: (text: string, values: readonly unknown[]) => Promise<Result>): PostgresPool {
  const client = {
    async query (text: string, values: readonly unknown[] = []) {
      const { rows, affected } = await run(text, values)
      const command = (/^\s*(\w+)/.exec(text)?.[1] ?? '').toUpperCase()
      return { command, rowCount: command === 'SELECT' ? rows.length : affected, rows }
    },
    release () {}
  } as unknown as PostgresPoolClient
  return { options: {}, connect: async () => client, end: async () => {} }
}

/** Who sends a trip hears of its failure; whoever packed a part of it need not listen. */
function unheard<T> (promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Collects statements of a transaction and sends them together. */
function createTrip (kysely: Kysely<Tables>, run: Course['run']): Trip {
  const packed: Array<Statement & { resolve: (rows: unknown[]) => void, reject: (error: unknown) => void }> = []
  const packing: Array<Promise<unknown>> = []
  function pack<R> (text: string, values: readonly unknown[]): Promise<R[]> {
    const { promise, resolve, reject } = Promise.withResolvers<R[]>()
    packed.push({ text, values, resolve: rows => { resolve(rows as R[]) }, reject })
    return unheard(promise)
  }
  return {
    add<R> (query: Compilable<R> | RawBuilder<R>) {
      const { sql: text, parameters } = query.compile(kysely)
      return pack<R>(text, parameters)
    },
    boss (call) {
      const asked = Promise.withResolvers<void>()
      const done = unheard(call({
        async executeSql (text, values) {
          const rows = pack<unknown>(text, values ?? [])
          asked.resolve()
          return { rows: await rows }
        }
      }))
      // pg-boss may have nothing to ask, or refuse.
      packing.push(unheard(Promise.race([asked.promise, done])))
      return done
    },
    async send ({ commit = false } = {}) {
      await Promise.all(packing)
      const parts = packed.splice(0)
      if (parts.length === 0 && !commit) return
      try {
        const results = await run(parts, commit)
        for (const [index, { resolve }] of parts.entries()) resolve(results[index]?.rows ?? [])
      } catch (error) {
        for (const { reject } of parts) reject(error)
        throw error
      }
    }
  }
}

/** Does what was put off until the commit. Its failure is no failure of the transaction, which nobody must repeat. */
export async function conclude<T> ({ result, after }: Outcome<T>, kysely: Kysely<Tables>, log: StoreLog): Promise<T> {
  for (const act of after) await act(kysely).catch(error => { log.warn({ err: error }, 'what follows a commit failed') })
  return result
}
