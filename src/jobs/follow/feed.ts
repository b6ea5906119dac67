import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'
import { inTurns } from './in-turns.ts'

/** Tells of changes to jobs, whichever replica made them. */
export interface Feed {
  /**
   * Calls back with a job after each of its changes from now on; several in short order may come as one, and one may
   * come twice. Whoever reads the job once this has resolved misses nothing. Returns what ends it.
   */
  watch: (id: string, onChange: (row: JobRow) => void) => Promise<() => void>
  /** Calls back with everything that changed, in the order of revisions, each once, and from and up to which revision that was; goes on when that is told. */
  watchAll: (onChanges: OnChanges) => Promise<() => void>
  /** Up to which revision all has been told. */
  told: () => number
  /** Resolves when no look at the database is under way any more. */
  close: () => Promise<void>
}

type OnChanges = (rows: JobRow[], from: number, told: number) => Promise<void> | void

export interface FeedOptions {
  store: Store
  log: { warn: (fields: object, message: string) => void }
}

const pollMs = 100
const pageSize = 500
/** A transaction that is open longer than this is no longer waited for; the sweep finds the jobs it changed. */
const patienceMs = 2_000
/** How often the jobs that are watched one by one are looked at themselves, as long as such a transaction may be open. */
const sweepMs = 10_000

/** The highest revision seen, and a transaction that began after every one which has a revision up to it. */
interface Mark { high: number, xid: bigint, at: number }

/**
 * One look at the database for all who listen in this process, and none while nobody does. Revisions are handed out
 * before their transactions commit, so a lower one may appear after a higher one: nothing is told before all
 * transactions that were open when the highest was seen have ended.
 */
export function createFeed ({ store, log }: FeedOptions): Feed {
  const one = new Map<string, Set<(row: JobRow) => void>>()
  const all = new Set<OnChanges>()
  let told = 0
  let mark: Mark | undefined
  let sweptAt = 0
  /** Changes of transactions before this one may come that were not waited for. */
  let doubt: bigint | undefined
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let closed = false

  async function takeMark (): Promise<Mark> {
    const { rows } = await sql<{ high: number, xid: string }>`select coalesce(max(revision), 0) as high, pg_current_xact_id()::text as xid from jobs`.execute(store.kysely)
    const { high, xid } = rows[0] as { high: number, xid: string }
    return { high, xid: BigInt(xid), at: performance.now() }
  }

  /** The oldest transaction that is open. */
  async function findOldest (): Promise<bigint> {
    const { rows } = await sql<{ oldest: string }>`select pg_snapshot_xmin(pg_current_snapshot())::text as oldest`.execute(store.kysely)
    return BigInt((rows[0] as { oldest: string }).oldest)
  }

  async function isCertain ({ xid, at }: Mark): Promise<boolean> {
    if (await findOldest() >= xid) return true
    if (performance.now() - at <= patienceMs) return false
    doubt = xid
    return true
  }

  async function look (): Promise<void> {
    if (mark === undefined) {
      const { rows } = await sql<{ high: number }>`select coalesce(max(revision), 0) as high from jobs`.execute(store.kysely)
      if (rows[0]?.high !== told) mark = await takeMark()
    }
    if (mark !== undefined && await isCertain(mark)) {
      const { high } = mark
      mark = undefined
      await tellUpTo(high)
    }
    if (doubt !== undefined && performance.now() - sweptAt > sweepMs) await sweep(doubt)
  }

  async function tellUpTo (certain: number): Promise<void> {
    while (told < certain) {
      if (closed) return
      const everything = all.size > 0
      const page = store.kysely.selectFrom('jobs').where('revision', '>', told).where('revision', '<=', certain).orderBy('revision').limit(pageSize)
      // Where nobody wants all of it, most of what changed is not even read.
      const changed = everything ? await page.selectAll().execute() : await page.select(['id', 'revision']).execute()
      const rows = everything ? changed as JobRow[] : await read(changed.map(({ id }) => id).filter(id => one.has(id)))
      // Whoever joined meanwhile wants this page too.
      if (!everything && all.size > 0) continue
      const from = told
      told = changed.length < pageSize ? certain : changed.at(-1)?.revision ?? certain
      for (const onChanges of all) await onChanges(rows, from, told)
      await tellOne(rows)
    }
  }

  const read = async (ids: string[]): Promise<JobRow[]> => ids.length === 0 ? [] : await store.kysely.selectFrom('jobs').selectAll().where('id', 'in', ids).execute()

  async function tellOne (rows: JobRow[]): Promise<void> {
    for (const row of rows) await inTurns(one.get(row.id) ?? [], onChange => { onChange(row) })
  }

  /** Finds what such transactions have changed, and ends once none of them is open any more. */
  async function sweep (until: bigint): Promise<void> {
    sweptAt = performance.now()
    const oldest = await findOldest()
    const ids = [...one.keys()]
    for (let start = 0; start < ids.length; start += pageSize) await tellOne(await read(ids.slice(start, start + pageSize)))
    if (oldest >= until && doubt === until) doubt = undefined
  }

  /** Begins at a point where all that happened before is visible to whoever looks now. */
  async function begin (): Promise<void> {
    const start = await takeMark()
    while (!await isCertain(start)) await new Promise(resolve => { setTimeout(resolve, pollMs / 5) })
    told = start.high
    mark = undefined
    next()
  }

  function next (): void {
    if (closed || one.size + all.size === 0) {
      running = undefined
      return
    }
    timer = setTimeout(() => {
      looking = look().catch(error => { log.warn({ err: error }, 'looking for changes of jobs failed; trying again') }).finally(next)
    }, pollMs)
  }

  async function join (leave: () => void): Promise<() => void> {
    running ??= begin()
    try {
      await running
    } catch (error) {
      running = undefined
      leave()
      throw error
    }
    return leave
  }

  return {
    async watch (anyCase, onChange) {
      const id = anyCase.toLowerCase()
      const mine = one.get(id) ?? new Set()
      one.set(id, mine.add(onChange))
      return await join(() => {
        mine.delete(onChange)
        if (mine.size === 0 && one.get(id) === mine) one.delete(id)
      })
    },
    async watchAll (onChanges) {
      all.add(onChanges)
      return await join(() => { all.delete(onChanges) })
    },
    told: () => told,
    async close () {
      closed = true
      clearTimeout(timer)
      await looking
    }
  }
}
