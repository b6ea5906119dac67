import { sql } from 'kysely'
import { toProblem, type AppError } from '../../errors.ts'
import { giveBack, hold, observe, type BucketName, type TokenBucket } from '../../purge/budget.ts'
import type { PurgeReceipt } from '../../purge/client.ts'
import { PurgeRateLimited, PurgeRefused } from '../../purge/failures.ts'
import type { RateLimit } from '../../purge/rate-limit.ts'
import type { Tx } from '../../store/store.ts'
import type { DebtRow } from '../../store/tables.ts'
import { pay, type EndedJob, type HeldDebt } from '../debts/payment.ts'
import { explain, explainPause, giveBackDebts, isolate, postpone, refuse } from '../debts/setback.ts'
import { lockBuckets, saveBuckets, type Buckets } from './limits/buckets.ts'
import type { Shipment } from './claim.ts'

/** After this many failed attempts a request is sent in halves: one of its objects may be what Fast Purge chokes on. */
const attemptsTogether = 6
const longestRestMs = 30_000
const longestBackoffMs = 60_000
/** How soon refused credentials are tried again, at most. */
const probeMs = 5_000

/** What booking needs to know of its planner. */
export interface Booking {
  edgegrid: string
  budget: number
  repeatMs: number
  /** How long a purge is tried before the jobs that wait for it fail. */
  retryMs: number
  /** Tokens of other requests that are on their way: of their objects, and one for each. */
  pending: { objects: number, requests: number }
}

const spread = () => 0.75 + Math.random() / 2

/** An accepted request: debts are paid, jobs told, buckets corrected, all or nothing. */
export async function bookAcceptance (tx: Tx, booking: Booking, shipment: Shipment, receipt: PurgeReceipt, purgeRowId: string): Promise<EndedJob[]> {
  const { edgegrid, repeatMs } = booking
  const now = await readClock(tx)
  const ended = await pay(tx, { ...shipment, edgegrid, receipt, repeatMs, purgeRowId })
  await changeBuckets(tx, booking, shipment.type, now, buckets => { look(buckets, shipment.type, receipt.rateLimit, { ...booking.pending, budget: booking.budget, underwayMs: now.getTime() - shipment.sentAt.getTime() }) })
  await rest(tx, edgegrid, 0)
  return ended
}

/** A request that was not accepted; what becomes of its debts depends on why. Returns the jobs that ended. */
export async function bookRefusal (tx: Tx, booking: Booking, shipment: Shipment, error: AppError): Promise<EndedJob[]> {
  const { debts, type, objects } = shipment
  const now = await readClock(tx)
  const unspent = (buckets: Buckets, requests: number) => {
    for (const [name, count] of [['request', requests], [type, objects.length]] as const) buckets.set(name, giveBack(buckets.get(name) as TokenBucket, count, booking.budget))
  }
  if (error instanceof PurgeRateLimited) {
    await giveBackDebts(tx, debts)
    await changeBuckets(tx, booking, type, now, buckets => {
      unspent(buckets, 1)
      halt(buckets, type, error, { ...booking.pending, budget: booking.budget, underwayMs: now.getTime() - shipment.sentAt.getTime() })
    })
    return []
  }
  if (error.credentials) {
    await giveBackDebts(tx, debts)
    await explain(tx, debts, toProblem(error), new Date(now.getTime() + probeMs))
    await explainPause(tx, booking.edgegrid, toProblem(error))
    await changeBuckets(tx, booking, type, now, buckets => { unspent(buckets, 1) })
    await rest(tx, booking.edgegrid, 0)
    return []
  }
  if (error.retryable) return await retryLater(tx, booking, shipment, error, now)
  // All or nothing: no object was taken, and no token but that of the request.
  await changeBuckets(tx, booking, type, now, buckets => { unspent(buckets, 0) })
  return await findOffender(tx, shipment, error, now)
}

interface Timing { requests: number, objects: number, underwayMs: number, budget: number }

/** The bucket that was short says what it holds, and nothing is spent of it until it holds what was missing. */
function halt (buckets: Buckets, type: DebtRow['type'], { shortage, rateLimit, retryAfterSeconds = 0 }: PurgeRateLimited, timing: Timing): void {
  look(buckets, type, rateLimit, timing, true)
  const name: BucketName = shortage.bucket === 'requests' ? 'request' : type
  const bucket = observe(buckets.get(name) as TokenBucket, { limit: shortage.limit, remaining: shortage.remaining }, { ...timing, pending: timing[shortage.bucket], refusal: true })
  const missing = (shortage.needed ?? NaN) - (shortage.remaining ?? NaN)
  buckets.set(name, hold(bucket, missing > 0 ? missing : Math.max(1, retryAfterSeconds) * bucket.perSecond))
}

function look (buckets: Buckets, type: DebtRow['type'], seen: RateLimit | undefined, { requests, objects, underwayMs, budget }: Timing, refusal = false): void {
  if (seen === undefined) return
  buckets.set('request', observe(buckets.get('request') as TokenBucket, seen.requests, { budget, pending: requests, refusal, underwayMs }))
  buckets.set(type, observe(buckets.get(type) as TokenBucket, seen.objects, { budget, pending: objects, refusal, underwayMs }))
}

/** Fast Purge could not answer, or nobody knows what it did: later once more, all of it, until it is too late for that. */
async function retryLater (tx: Tx, { edgegrid, retryMs }: Booking, { debts, objects }: Shipment, error: AppError, now: Date): Promise<EndedJob[]> {
  const isLate = (debt: HeldDebt) => now.getTime() - debt.first_at.getTime() > retryMs
  const ended = await refuse(tx, [{ debts: debts.filter(isLate), reason: error.message, problem: toProblem(error) }], now)
  const early = debts.filter(debt => !isLate(debt))
  const attempts = Math.max(0, ...early.map(debt => debt.attempts))
  const delayMs = Math.min(longestBackoffMs, 1000 * 2 ** attempts) * spread()
  await postpone(tx, early, delayMs)
  if (attempts >= attemptsTogether && objects.length > 1) await isolate(tx, halves(early))
  await explain(tx, early, toProblem(error), new Date(now.getTime() + delayMs))
  await rest(tx, edgegrid, 1)
  return ended
}

/** Counts requests in a row that nobody answered well; each makes the whole lane rest for longer. An answer ends it. */
async function rest (tx: Tx, edgegrid: string, failures: 0 | 1): Promise<void> {
  if (failures === 0) await sql`update purge_lanes set failures = 0, rest_until = null where edgegrid = ${edgegrid} and failures > 0`.execute(tx.kysely)
  else {
    await sql`update purge_lanes set failures = failures + 1,
        rest_until = clock_timestamp() + least(${longestRestMs}::float8, 1000 * 2 ^ least(failures, 10)) * ${spread()}::float8 * interval '1 millisecond'
      where edgegrid = ${edgegrid}`.execute(tx.kysely)
  }
}

/**
 * All or nothing was refused for an object: the one that is named goes, and the others are sent again; where none is
 * named, or one of these was refused before, in halves. So each refusal takes an object away or halves the rest, and n
 * objects never cause more than 2n requests.
 */
async function findOffender (tx: Tx, { debts, objects, suspect }: Shipment, error: AppError, now: Date): Promise<EndedJob[]> {
  const named = error instanceof PurgeRefused && error.offender !== undefined ? String(error.offender) : undefined
  const isGuilty = (debt: HeldDebt) => objects.length === 1 || debt.object === named
  const others = debts.filter(debt => !isGuilty(debt))
  const reason = error instanceof PurgeRefused ? error.reason : error.message
  const ended = await refuse(tx, [{ debts: debts.filter(isGuilty), reason, problem: toProblem(error) }], now)
  await isolate(tx, named === undefined || suspect ? halves(others) : [others])
  return ended
}

/** Two parts with half of the objects each. */
function halves (debts: readonly HeldDebt[]): HeldDebt[][] {
  const objects = [...new Set(debts.map(debt => debt.object))]
  const first = new Set(objects.slice(0, objects.length >> 1))
  return [debts.filter(debt => first.has(debt.object)), debts.filter(debt => !first.has(debt.object))]
}

async function readClock (tx: Tx): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select date_trunc('milliseconds', clock_timestamp()) as now`.execute(tx.kysely)
  return (rows[0] as { now: Date }).now
}

/** Buckets are locked last in every transaction that also changes debts and jobs. */
async function changeBuckets (tx: Tx, { edgegrid, budget }: Booking, type: DebtRow['type'], now: Date, change: (buckets: Buckets) => void): Promise<void> {
  const buckets = await lockBuckets(tx, edgegrid, ['request', type], budget, now)
  change(buckets)
  await saveBuckets(tx, edgegrid, buckets)
}
