import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { AppError, toAppError, toProblem } from '../../errors.ts'
import type { PurgeClient } from '../../purge/client.ts'
import type { Store, Tx } from '../../store/store.ts'
import type { EndedJob } from '../debts/payment.ts'
import { refuse } from '../debts/setback.ts'
import type { Pauses } from '../pauses.ts'
import { claim, type Claim, type PlanningRules, type Shipment } from './claim.ts'
import { createCourier, type UnderWay } from './courier.ts'
import { kindOf } from './packing.ts'

/** The most requests on their way at once: enough to use a burst up in seconds over a slow line. */
const mostRequests = 4
/** How often a lane looks for work that nobody told it of. */
const pollMs = 250
/** How often a lane asks whether the planner that has the lease still lives. */
const standbyMs = 1_000
/** A request that is on its way for longer holds up no other. */
const slowMs = 3_000
/** How long requests may still be answered when the process stops. */
const stopMs = 5_000

type Log = (fields: object, message: string) => void

export interface LaneOptions extends PlanningRules {
  store: Store
  pauses: Pauses
  coalesceMs: number
  repeatMs: number
  /** How long a purge is tried before the jobs that wait for it fail. */
  retryMs: number
  log: { info: Log, warn: Log, error: Log }
  /** Called for jobs that ended. */
  onDone: (jobs: EndedJob[]) => void
  /** Called for each accepted request, with how long each of its debts had been due. */
  onAccepted: (type: Shipment['type'], waitedSeconds: number[]) => void
}

/** What sends the purges of one credential. */
export interface Lane {
  kick: () => void
  stop: () => Promise<void>
}

/**
 * Looks for what is due, takes it, sends it and books what came of it, for one EdgeGrid credential. The database decides
 * which replica does so; the others go on asking, so that a dead one is replaced within seconds.
 */
export function startLane (edgegrid: string, client: PurgeClient, options: LaneOptions): Lane {
  const { store, pauses, log, coalesceMs } = options
  const name = `edgegrid:${edgegrid}`
  const holder = randomUUID()
  const onTheirWay = new Map<UnderWay, Promise<void>>()
  /** When the last body that was not full left, by kind. */
  const lastRest = new Map<string, number>()
  let stopping = false
  let timer: NodeJS.Timeout | undefined
  let turn: Promise<void> | undefined
  /** Until when nothing new could be sent, whoever asks. */
  let idleUntil = 0
  /** More could be sent, were it not for what is on its way. */
  let crowded = false
  let queue: Promise<unknown> = Promise.resolve()

  /** One transaction of this lane at a time: they would only wait for each other's locks. */
  async function inTurn<T> (work: (tx: Tx) => Promise<T>): Promise<T> {
    const result = queue.then(async () => await store.withTx(work))
    queue = result.catch(() => {})
    return await result
  }
  const courier = createCourier({ ...options, edgegrid, client, name, inTurn, onTheirWay })

  /** How long until something is ripe; undefined if nothing is owed. Indexes answer, however much waits. */
  async function untilRipe (): Promise<number | undefined> {
    const { rows } = await sql<{ ms: number | null }>`
      select (extract(epoch from min(oldest.due_at) - clock_timestamp()) * 1000)::float8 as ms
      from (values ('url'), ('cpcode'), ('tag')) as types (type), generate_series(0, 3) as priorities (priority), lateral (
        select due_at from debts where edgegrid = ${edgegrid} and type = types.type and debts.priority = priorities.priority
          and due_at is not null and (claimed_until is null or claimed_until < clock_timestamp()) order by due_at limit 1
      ) as oldest`.execute(store.kysely)
    const ms = rows[0]?.ms ?? undefined
    return ms === undefined ? undefined : ms + coalesceMs
  }

  const isRipe = (kind: string, oldest: Date, now: Date) =>
    now.getTime() - oldest.getTime() >= coalesceMs && performance.now() - (lastRest.get(kind) ?? -Infinity) >= coalesceMs

  /** Until the next body that is not full may go, of any kind that has sent one lately. */
  function untilNextRest (): number {
    const soonest = Math.min(...[...lastRest.values()].map(at => at + coalesceMs - performance.now()).filter(ms => ms > 0))
    return soonest === Infinity ? pollMs : soonest
  }

  /** Sends what may be sent. Returns how long nothing more can be; undefined if nothing is owed, so that whoever owes something may say so at once. */
  async function look (): Promise<number | undefined> {
    const ripeMs = await untilRipe()
    if (ripeMs === undefined) return undefined
    if (ripeMs > 0) return Math.min(ripeMs, pollMs)
    const busy = new Set([...onTheirWay.keys()].filter(shipment => performance.now() - shipment.takenAt < slowMs).map(shipment => shipment.type))
    const slots = mostRequests - onTheirWay.size
    const takeProbe = pauses.reasons().has(name) ? async (tx: Tx) => await pauses.takeProbe(tx, name) : undefined
    crowded = true
    if (slots === 0) return pollMs
    const takenAt = performance.now()
    const claimed = await inTurn(async tx => await claim(tx, { ...options, edgegrid, holder, alone: store.orphansAtStart, slots, busy, takeProbe, isRipe }))
    if (claimed === undefined) return standbyMs
    if (claimed.escalated > 0) log.warn({ edgegrid, count: claimed.escalated }, 'too many URLs wait: the CP codes of their rule are invalidated in their place')
    for (const shipment of claimed.shipments.map(each => ({ ...each, takenAt }))) {
      if (shipment.rest && !shipment.suspect) lastRest.set(kindOf(shipment, shipment.type), performance.now())
      onTheirWay.set(shipment, courier.deliver(shipment).finally(() => {
        onTheirWay.delete(shipment)
        if (crowded) idleUntil = 0
        kick()
      }))
    }
    await failTooLong(claimed)
    crowded = claimed.more || busy.size > 0
    return claimed.more || claimed.escalated > 0 ? 0 : untilNextRest()
  }

  async function failTooLong ({ tooLong, now }: Claim): Promise<void> {
    if (tooLong.length === 0) return
    const refusals = tooLong.map(({ debts, object }) => {
      const error = new AppError('purge_object_too_long', `The object is longer than a purge request may be: ${object.slice(0, 100)}…`)
      return { debts, reason: error.message, problem: toProblem(error) }
    })
    options.onDone(await inTurn(async tx => await refuse(tx, refusals, now)))
  }

  function kick (): void {
    if (stopping || turn !== undefined || performance.now() < idleUntil) return
    clearTimeout(timer)
    turn = look()
      .catch(error => {
        log.warn({ err: toAppError(error).cause ?? error, edgegrid }, 'looking for purges failed; trying again')
        return standbyMs
      })
      .then(ms => {
        turn = undefined
        idleUntil = performance.now() + (ms ?? 0)
        if (!stopping) timer = setTimeout(() => { idleUntil = 0; kick() }, ms ?? pollMs)
      })
  }

  kick()
  return {
    kick,
    async stop () {
      stopping = true
      clearTimeout(timer)
      await turn
      const late = setTimeout(courier.abort, stopMs)
      await Promise.all(onTheirWay.values())
      clearTimeout(late)
      await sql`update purge_lanes set held_until = clock_timestamp() where edgegrid = ${edgegrid} and holder = ${holder}`.execute(store.kysely).catch(() => {})
    }
  }
}
