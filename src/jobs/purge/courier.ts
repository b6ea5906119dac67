import { sql } from 'kysely'
import { AppError, toAppError } from '../../errors.ts'
import type { PurgeClient, PurgeReceipt } from '../../purge/client.ts'
import { PurgeRateLimited, PurgeRefused } from '../../purge/failures.ts'
import type { Tx } from '../../store/store.ts'
import type { EndedJob } from '../debts/payment.ts'
import { giveBackDebts } from '../debts/setback.ts'
import { newJobId } from '../job.ts'
import { bookAcceptance, bookRefusal, type Booking } from './booking.ts'
import { claimMs, type Shipment } from './claim.ts'
import type { LaneOptions } from './lane.ts'
import { toWire } from './packing.ts'

/** How often the database is asked to book an answer before it is left to be purged once more. */
const bookAttempts = 5

export interface CourierOptions extends LaneOptions {
  edgegrid: string
  client: PurgeClient
  /** The name under which the credential is paused. */
  name: string
  inTurn: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  onTheirWay: ReadonlyMap<Shipment, unknown>
}

/** A shipment since the moment it was taken, by the clock of this process. */
export interface UnderWay extends Shipment { takenAt: number }

/** Brings shipments to Fast Purge and books the answers. */
export interface Courier {
  /** Never rejects. */
  deliver: (shipment: UnderWay) => Promise<void>
  /** Gives back what is on its way. */
  abort: () => void
}

/** Makes the courier of one credential. */
export function createCourier (options: CourierOptions): Courier {
  const { edgegrid, budget, repeatMs, retryMs, client, name, inTurn, onTheirWay, pauses, log } = options
  const stop = new AbortController()

  async function deliver (shipment: UnderWay): Promise<void> {
    const { action, type, network, objects, debts, sentAt, takenAt } = shipment
    // Frozen for so long that another planner may have taken the debts: they are no longer ours to send.
    if (performance.now() - takenAt > claimMs / 2) return
    const renewal = setInterval(() => { renew(shipment).catch(() => {}) }, claimMs / 3)
    const purgeRowId = newJobId(sentAt.getTime())
    try {
      const answer = await client.send({ action, type, network, objects: objects.map(object => toWire(object, type)), signal: stop.signal }).catch(toAppError)
      await book(shipment, answer, purgeRowId)
      report(shipment, answer)
      if (shipment.probe && isFromService(answer)) await pauses.resume(name)
    } catch (error) {
      log.error({ err: error, edgegrid, count: debts.length }, 'the answer to a purge could not be booked: it is sent once more')
    } finally {
      clearInterval(renewal)
    }
  }

  /** A request that takes long keeps its debts. */
  async function renew ({ debts }: Shipment): Promise<void> {
    await inTurn(async tx => {
      await sql`update debts set claimed_until = clock_timestamp() + ${claimMs}::int * interval '1 millisecond'
        where id = any(${debts.map(debt => debt.id)}::bigint[]) and claimed_until > clock_timestamp()`.execute(tx.kysely)
    })
  }

  /** Books an answer; a database that is away for a moment does not make us purge twice. */
  async function book (shipment: Shipment, answer: PurgeReceipt | AppError, purgeRowId: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        options.onDone(await inTurn(async tx => await bookIn(tx, shipment, answer, purgeRowId)))
        return
      } catch (error) {
        if (attempt === bookAttempts) throw error
        await new Promise(resolve => { setTimeout(resolve, 100 * 2 ** attempt) })
      }
    }
  }

  async function bookIn (tx: Tx, shipment: Shipment, answer: PurgeReceipt | AppError, purgeRowId: string): Promise<EndedJob[]> {
    const others = [...onTheirWay.keys()].filter(other => other !== shipment)
    const sameType = others.filter(other => other.type === shipment.type)
    const pending = { requests: others.length, objects: sameType.reduce((sum, other) => sum + other.objects.length, 0) }
    const booking: Booking = { edgegrid, budget, repeatMs, retryMs, pending }
    if (!(answer instanceof AppError)) return await bookAcceptance(tx, booking, shipment, answer, purgeRowId)
    if (stop.signal.aborted) {
      await giveBackDebts(tx, shipment.debts)
      return []
    }
    if (answer.credentials) await pauses.pause(tx, name, answer.message)
    return await bookRefusal(tx, booking, shipment, answer)
  }

  function report ({ type, network, action, objects, debts, sentAt, takenAt }: UnderWay, answer: PurgeReceipt | AppError): void {
    const fields = { edgegrid, type, network, action, count: objects.length }
    if (answer instanceof AppError) {
      if (!stop.signal.aborted) log.warn({ ...fields, code: answer.code, ...(answer.code === 'internal_error' ? { err: answer.cause } : {}) }, answer.message)
      return
    }
    log.info({ ...fields, purgeId: answer.purgeId }, 'purge accepted')
    const seconds = (performance.now() - takenAt) / 1000
    options.onAccepted(type, debts.filter(debt => !debt.repeat && debt.due_at !== null).map(debt => Math.max(0, seconds + (sentAt.getTime() - Number(debt.due_at)) / 1000)))
  }

  return { deliver, abort: () => { stop.abort() } }
}

/** The gateway let the request through, whatever the service then said of it. */
const isFromService = (answer: PurgeReceipt | AppError) => !(answer instanceof AppError) || answer instanceof PurgeRefused || answer instanceof PurgeRateLimited
