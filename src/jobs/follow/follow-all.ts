import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'
import type { Feed } from './feed.ts'
import { inTurns } from './in-turns.ts'
import { createFormat, progressMs, type Listener } from './listener.ts'

/** How much is read at once for a reader that fell behind: little enough that most of it finds room. */
const pageSize = 50
/** Of how many jobs a listener is told at first: the newest of each state that is not the end. */
const presentOfEach = 50

export interface FollowAllOptions {
  store: Store
  feed: Feed
  show: (row: JobRow) => object
}

/** One event for all who may see its job. */
interface Event { row: JobRow, bytes: Buffer }

/** Hears of what changed after one revision and up to another. */
type Tell = (events: Event[], from: number, told: number) => void

/** Follows all jobs that a caller may see, from what is under way or from after a revision. */
export type FollowAll = (maySee: (row: JobRow) => boolean, after: number | undefined, open: () => Listener) => Promise<void>

/**
 * Tells listeners of every job: of those under way first, or of what changed after a revision, then of each change.
 * Events are made once for all listeners; one that cannot keep up reads on from the database when it can.
 */
export function createFollowAll ({ store, feed, show }: FollowAllOptions): FollowAll {
  const live = new Set<Tell>()
  const format = createFormat(show)
  const progressAt = new Map<string, number>()
  let hearing: Promise<() => void> | undefined
  let present: { told: number, events: Promise<Event[]> } | undefined
  let turn: Promise<unknown> = Promise.resolve()

  const isProgress = (row: JobRow): boolean => row.state === 'uploading' && row.sent_bytes !== null
  const toEvent = (row: JobRow, name: string = isProgress(row) ? 'progress' : row.state): Event => ({ row, bytes: format(row, name) })

  /** Leaves out progress that follows too soon on the last. */
  function isDue (row: JobRow): boolean {
    if (!isProgress(row)) {
      progressAt.delete(row.id)
      return true
    }
    const now = performance.now()
    if (now - (progressAt.get(row.id) ?? -Infinity) < progressMs) return false
    progressAt.set(row.id, now)
    return true
  }

  async function hear (): Promise<void> {
    hearing ??= feed.watchAll(async (rows, from, told) => {
      const events = rows.filter(isDue).map(row => toEvent(row))
      await inTurns(live, tell => { tell(events, from, told) })
    })
    await hearing
  }

  function forget (tell: Tell): void {
    live.delete(tell)
    if (live.size > 0) return
    hearing?.then(end => { end() }, () => {})
    hearing = undefined
    present = undefined
    progressAt.clear()
  }

  /** What is under way, read once for all who come at the same time. */
  async function readPresent (): Promise<{ told: number, events: Event[] }> {
    const told = feed.told()
    if (present?.told !== told) {
      const states = ['queued', 'uploading', 'settling', 'purging', 'held'].map(state => sql`(select * from jobs where state = ${state} order by id desc limit ${presentOfEach})`)
      const rows = sql<JobRow>`${sql.join(states, sql` union all `)} order by revision`.execute(store.kysely)
      present = { told, events: rows.then(({ rows }) => rows.filter(row => row.revision <= told).map(row => toEvent(row, row.state))) }
      present.events.catch(() => { present = undefined })
    }
    return { told, events: await present.events }
  }

  /** Reads one page, one reader after the other: however many fell behind, they do not crowd the database. */
  async function readPage (after: number, upTo: number, isWanted: () => boolean): Promise<JobRow[]> {
    const page = turn.then(async () => isWanted()
      ? await store.kysely.selectFrom('jobs').selectAll().where('revision', '>', after).where('revision', '<=', upTo).orderBy('revision').limit(pageSize).execute()
      : [])
    turn = page.catch(() => {})
    return await page
  }

  /** Whether a revision was handed out already: what a stranger made up starts from the present. */
  async function isKnown (revision: number): Promise<boolean> {
    if (revision <= feed.told()) return true
    const { rows } = await sql<{ last: number }>`select last_value as last from jobs_revision`.execute(store.kysely)
    return revision <= (rows[0] as { last: number }).last
  }

  return async function followAll (maySee, after, open) {
    let listener: Listener | undefined
    let seen = 0
    let reading = false

    /** Sends as much as there is room for. Returns whether that was all. */
    function send (to: Listener, events: Event[]): boolean {
      for (const { row, bytes } of events) {
        if (to.isFull) return false
        if (row.revision > seen && maySee(row)) to.send(bytes)
        seen = Math.max(seen, row.revision)
      }
      return true
    }

    /** Whoever missed something before this has to read that first. */
    function tell (events: Event[], from: number, told: number): void {
      if (listener !== undefined && !reading && seen >= from && send(listener, events)) seen = Math.max(seen, told)
    }

    /** Reads from the database what was missed, until there is nothing more, or it has enough to take for now. */
    async function catchUp (to: Listener): Promise<void> {
      if (reading) return
      reading = true
      try {
        while (to.isOpen && !to.isBehind && seen < feed.told()) {
          const told = feed.told()
          const rows = await readPage(seen, told, () => to.isOpen)
          if (send(to, rows.map(row => toEvent(row))) && rows.length < pageSize) seen = Math.max(seen, told)
        }
      } catch {
        // The store is away: the reader comes back and says where it stopped.
        to.end()
      } finally {
        reading = false
      }
    }

    live.add(tell)
    try {
      await hear()
      const resumed = after !== undefined && await isKnown(after)
      const first = resumed ? { told: after, events: [] } : await readPresent()
      const to = open()
      to.onDrain = () => { catchUp(to) }
      to.onClose = () => { forget(tell) }
      if (!to.isOpen) to.onClose()
      // What is under way is held once for all, and cannot be read again by its revisions: it is sent in any case.
      for (const { row, bytes } of first.events) if (maySee(row)) to.send(bytes)
      seen = first.told
      listener = to
      await catchUp(to)
    } catch (error) {
      forget(tell)
      throw error
    }
  }
}
