import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import { fetchWakeUps } from './fetch.ts'
import { LeaseLost, queueOf, type Settled, type WakeUp } from './lanes.ts'
import { createSlots, type Slot } from './slots.ts'
import { defaultHeartbeatSeconds, listQueues, openQueues } from './wake-queues.ts'

/** The part of the heartbeat after which a worker no longer trusts its own lease. */
const leaseShare = 0.85
const idleMs = 250
/** So many small objects that have just changed overtake a backlog, beside those that are copied in order. */
const expressSlots = 2
const expressEveryMs = 250
/** While every slot is taken, there is no hurry: what comes meanwhile is fetched at once. */
const busyMs = 100

/** A worker's right to a lane: it ends when the heartbeat was not heard in time, whatever the worker believes. */
export interface Lease {
  /** Aborts when the lane was taken over or the process is to stop. */
  signal: AbortSignal
  /** Throws LeaseLost when the last heartbeat is too old. No query: a frozen worker must notice by its own clock. */
  check: () => void
}

export interface DispatcherOptions {
  store: Store
  targets: string[]
  concurrency: number
  /** A worker that was not heard for so long loses its lanes (15). Touched five times as often; its own clock ends the lease a little earlier. */
  heartbeatSeconds?: number | undefined
  /** Targets that must keep still now. */
  isPaused: (target: string) => boolean
  /**
   * Does the work of one lane and ends the wake-up in its own transaction; returns whether the lane was called again.
   * Must not throw but for LeaseLost.
   */
  run: (wakeUp: WakeUp, target: string, lease: Lease, slot: Slot) => Promise<boolean | void>
  log: { warn: (fields: object, message: string) => void, error: (fields: object, message: string) => void }
}

/** Fetches wake-ups while there is room, keeps their heartbeats, and waits for them at the end. */
export interface Dispatcher {
  /** Looks for work now instead of at the next poll. */
  kick: () => void
  running: () => number
  /**
   * Makes the queues of further targets; what it resolves to begins to fetch from them, and from those of targets that
   * are gone, so that what waits there can be moved.
   */
  open: (targets: readonly string[]) => Promise<() => void>
  /** Takes no more; runs that are not done after `ms` are aborted and give their work back. */
  stop: (ms: number) => Promise<void>
}

/** Creates the queues, gives back what a crash of this very process left behind, and starts to fetch. */
export async function startDispatcher ({ store, targets, concurrency, heartbeatSeconds = defaultHeartbeatSeconds, isPaused, run, log }: DispatcherOptions): Promise<Dispatcher> {
  const { boss } = store
  // Who shares the database may know targets that this process does not know yet: only who has it alone takes over what is gone.
  const served = new Set([...targets, ...store.orphansAtStart ? await listQueues(store) : []])
  await openQueues(store, served, heartbeatSeconds)
  for (const queue of store.orphansAtStart ? [...served].map(queueOf) : []) {
    const { rows } = await sql<{ id: string }>`select id from pgboss.job where name = ${queue} and state = 'active'`.execute(store.kysely)
    if (rows.length > 0) await boss.fail(queue, rows.map(row => row.id))
  }
  if (store.orphansAtStart) await store.kysely.updateTable('debts').set({ claimed_until: null }).where('claimed_until', 'is not', null).execute()

  const active = new Map<string, { wakeUp: WakeUp, abort: AbortController, heardAt: number, done: Promise<void> }>()
  let stopping = false
  let timer: NodeJS.Timeout | undefined
  let fetching: Promise<void> | undefined
  let again = false
  /** The last look found as much as it had room for. */
  let hasMore = false
  const onRelease = (): void => { if (hasMore) kick() }
  const slots = createSlots({ count: concurrency, onRelease })
  const express = createSlots({ count: expressSlots, isExpress: true, onRelease })
  let overtookAt = -Infinity
  let lookedAt = -Infinity

  function start (wakeUp: WakeUp, target: string, heardAt: number, slot: Slot): void {
    const abort = new AbortController()
    const entry = { wakeUp, abort, heardAt, done: Promise.resolve() }
    const lease: Lease = {
      signal: abort.signal,
      check () {
        if (performance.now() - entry.heardAt > heartbeatSeconds * 1000 * leaseShare) abort.abort(new LeaseLost(`no heartbeat for ${wakeUp.lane} in time`))
        abort.signal.throwIfAborted()
      }
    }
    active.set(wakeUp.id, entry)
    entry.done = run(wakeUp, target, lease, slot)
      .then(calledAgain => { hasMore ||= calledAgain === true })
      .catch(error => {
        if (error instanceof LeaseLost) log.warn({ lane: wakeUp.lane }, 'another worker took this lane over')
        else log.error({ err: error, lane: wakeUp.lane }, 'a run ended unexpectedly; its lane is tried again when the heartbeat is missed')
      })
      .finally(() => {
        active.delete(wakeUp.id)
        slot.release()
        if (hasMore) kick()
      })
  }

  async function fetchAll (): Promise<void> {
    hasMore = false
    for (const target of served) {
      const room = slots.room()
      hasMore ||= room <= 0
      if (room <= 0 || stopping || isPaused(target)) continue
      const heardAt = performance.now()
      const wakeUps = await fetchWakeUps(store, target, room)
      hasMore ||= wakeUps.length === room
      for (const wakeUp of wakeUps) start(wakeUp, target, heardAt, slots.create())
    }
    if (hasMore) await overtake()
  }

  /** Where work waits, what came last does not wait behind it. */
  async function overtake (): Promise<void> {
    const heardAt = performance.now()
    if (heardAt - overtookAt < expressEveryMs) return
    overtookAt = heardAt
    for (const target of served) {
      const room = express.room()
      if (room <= 0 || stopping || isPaused(target)) continue
      for (const wakeUp of await fetchWakeUps(store, target, room, 'express')) start(wakeUp, target, heardAt, express.create())
    }
  }

  function kick (): void {
    if (stopping) return
    if (fetching !== undefined) {
      again = true
      return
    }
    clearTimeout(timer)
    const waitMs = active.size < concurrency ? 0 : lookedAt + busyMs - performance.now()
    if (waitMs > 0) {
      timer = setTimeout(kick, waitMs)
      return
    }
    lookedAt = performance.now()
    fetching = fetchAll()
      .catch(error => { log.warn({ err: error }, 'looking for work failed; trying again') })
      .finally(() => {
        fetching = undefined
        if (again) {
          again = false
          kick()
        } else if (!stopping) timer = setTimeout(kick, idleMs)
      })
  }

  async function touch (): Promise<void> {
    for (const queue of new Set([...active.values()].map(entry => entry.wakeUp.queue))) {
      const entries = [...active.values()].filter(entry => entry.wakeUp.queue === queue)
      const sentAt = performance.now()
      const { settled } = await boss.touch(queue, entries.map(({ wakeUp }) => ({ id: wakeUp.id, retryCount: wakeUp.retryCount }))) as unknown as Settled
      const alive = new Set(settled)
      for (const entry of entries) {
        if (alive.has(entry.wakeUp.id)) entry.heardAt = sentAt
        else if (active.has(entry.wakeUp.id)) entry.abort.abort(new LeaseLost(`the lane ${entry.wakeUp.lane} was taken over`))
      }
    }
  }
  const heart = setInterval(() => { touch().catch(error => { log.warn({ err: error }, 'a heartbeat failed') }) }, heartbeatSeconds * 1000 / 5)

  kick()
  return {
    kick,
    running: () => active.size,
    async open (more) {
      const all = [...more, ...await listQueues(store)]
      await openQueues(store, all, heartbeatSeconds)
      return () => {
        for (const target of all) served.add(target)
        kick()
      }
    },
    async stop (ms) {
      stopping = true
      slots.close()
      express.close()
      clearTimeout(timer)
      await fetching
      const all = Promise.all([...active.values()].map(async entry => { await entry.done }))
      let late: NodeJS.Timeout | undefined
      await Promise.race([all, new Promise(resolve => { late = setTimeout(resolve, ms) })])
      clearTimeout(late)
      for (const { abort } of active.values()) abort.abort(new Error('the process is stopping'))
      await all
      clearInterval(heart)
    }
  }
}
