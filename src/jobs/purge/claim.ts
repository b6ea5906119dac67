import { sql } from 'kysely'
import { isPlenty, needsLook, spend, spendable, type TokenBucket } from '../../purge/budget.ts'
import type { Tx } from '../../store/store.ts'
import type { DebtRow } from '../../store/tables.ts'
import type { HeldDebt } from '../debts/payment.ts'
import { priorities } from '../debts/owe.ts'
import { step } from '../job.ts'
import { findBraked, putOff } from './limits/brakes.ts'
import { lockBuckets, saveBuckets } from './limits/buckets.ts'
import { escalate } from './limits/escalation.ts'
import { packParcels, type Candidate, type Parcel } from './packing.ts'

/** A holder that was silent for so long is replaced. */
const leaseMs = 5_000
/** What a holder took and neither sent nor gave back is anybody's after this; renewed while a request is on its way. */
export const claimMs = 15_000
/** The most debts looked at in one turn. */
const mostCandidates = 2_500
/** The part of the tokens that less urgent purges get though more urgent ones wait. */
const lesserShare = 0.25
/** The part of the tokens of urgent purges that goes to the newest of them: one call does not wait for a flood of others. */
const newestShare = 0.1
/** A repeat that tokens have been too short for since so long is dropped. */
const dropRepeatMs = 300_000

const types = ['url', 'cpcode', 'tag'] as const

/** How a planner spends what it may. */
export interface PlanningRules {
  /** The part of the account's limits that is ours. */
  budget: number
  cpCodesPerHour: number
  escalateMs: number
}

export interface ClaimOptions extends PlanningRules {
  edgegrid: string
  /** The planner that asks. */
  holder: string
  /** There can be no other planner, so that whoever has the lease is dead. */
  alone: boolean
  /** How many more requests may be on their way. */
  slots: number
  /** Types of which a request is on its way. */
  busy: ReadonlySet<DebtRow['type']>
  /** Credentials were refused: whether one object alone may now show if they are accepted again. Undefined = they are accepted. */
  takeProbe: ((tx: Tx) => Promise<boolean>) | undefined
  isRipe: (kind: string, oldest: Date, now: Date) => boolean
}

/** A parcel with its debts, held for one planner. */
export interface Shipment extends Parcel {
  type: DebtRow['type']
  debts: HeldDebt[]
  sentAt: Date
  /** It is to show whether the credentials are accepted again. */
  probe: boolean
}

/** What one turn takes. */
export interface Claim {
  shipments: Shipment[]
  tooLong: Array<{ debts: HeldDebt[], object: string }>
  /** More can go at once: it was left for want of slots, not of tokens. */
  more: boolean
  /** By the database's clock, as everything here. */
  now: Date
  escalated: number
}

/**
 * Takes what may be sent now, for one planner alone: the lease, the tokens and the debts change in one transaction, so
 * that whatever dies, nothing is sent beyond the budget and nothing is forgotten. Undefined while another planner has the
 * lease, or when requests have failed and the next is not due.
 */
export async function claim (tx: Tx, options: ClaimOptions): Promise<Claim | undefined> {
  const { edgegrid, budget, cpCodesPerHour, isRipe } = options
  const probing = options.takeProbe !== undefined
  const lease = await takeLease(tx, options)
  if (lease === undefined) return undefined
  const { now, failures } = lease
  const result: Claim = { shipments: [], tooLong: [], more: false, now, escalated: 0 }
  if (lease.rest_until !== null && lease.rest_until > now) return result
  // While nobody answers, one request at a time is enough to see when they do.
  const single = probing || failures > 0
  if (single && options.busy.size > 0) return result
  if (options.takeProbe !== undefined && !await options.takeProbe(tx)) return result
  const buckets = await lockBuckets(tx, edgegrid, ['request', ...types], budget, now)
  for (const type of types) {
    const bucket = buckets.get(type) as TokenBucket
    const requests = buckets.get('request') as TokenBucket
    const looking = needsLook(bucket) || needsLook(requests)
    const alone = looking || !isPlenty(bucket)
    if (alone && options.busy.has(type)) continue
    if (type === 'url' && !probing) result.escalated = await escalate(tx, { ...options, bucket, now })
    const slots = Math.min(options.slots - result.shipments.length, spendable(requests, budget), single || alone ? 1 : Infinity)
    const limit = Math.min(spendable(bucket, budget), probing ? 1 : mostCandidates)
    if (slots < 1 || limit < 1 || (single && result.shipments.length > 0)) continue
    let candidates = await takeCandidates(tx, edgegrid, type, limit, now)
    const more = candidates.length === mostCandidates
    if (type === 'cpcode') {
      const braked = await findBraked(tx, edgegrid, candidates.filter(each => each.limited), cpCodesPerHour, now)
      await putOff(tx, edgegrid, braked, cpCodesPerHour, now)
      candidates = candidates.filter(each => !each.limited || !braked.some(code => code.object === each.object && code.network === each.network))
    }
    const { parcels, tooLong, cut } = packParcels({ type, candidates, slots, more, isRipe: (kind, oldest) => probing || looking || isRipe(kind, oldest, now) })
    const held = await hold(tx, edgegrid, type, [...parcels, ...tooLong.map(each => ({ ...each, objects: [each.object], suspect: true, rest: true }))], now)
    const shipments = held.slice(0, parcels.length).filter(each => each.objects.length > 0).map(each => ({ ...each, type, rest: each.rest && !looking, probe: probing, sentAt: now }))
    result.tooLong.push(...held.slice(parcels.length).flatMap(({ debts, objects }) => objects.map(object => ({ debts, object }))))
    result.shipments.push(...shipments)
    result.more ||= cut || looking || (more && parcels.length > 0)
    buckets.set(type, spend(bucket, shipments.reduce((sum, each) => sum + each.objects.length, 0)))
    buckets.set('request', spend(requests, shipments.length))
  }
  await saveBuckets(tx, edgegrid, buckets)
  return result
}

interface Lease { failures: number, rest_until: Date | null, now: Date }

/** The lease of one credential: kept by whoever has it, taken over when it ran out. */
async function takeLease (tx: Tx, { edgegrid, holder, alone }: ClaimOptions): Promise<Lease | undefined> {
  const { rows } = await sql<Lease>`
    insert into purge_lanes as lane (edgegrid, holder, held_until) values (${edgegrid}, ${holder}, clock_timestamp() + ${leaseMs}::int * interval '1 millisecond')
    on conflict (edgegrid) do update set holder = excluded.holder, held_until = excluded.held_until
    where lane.holder = excluded.holder or lane.held_until < clock_timestamp() or ${alone}::boolean
    returning failures, rest_until, date_trunc('milliseconds', clock_timestamp()) as now`.execute(tx.kysely)
  return rows[0]
}

/** A part of a number of tokens; chance decides about the last one, so that even single tokens are shared. */
const part = (tokens: number, share: number) => Math.floor(tokens * share + Math.random())

interface Due extends Candidate { limited: boolean }

/** What is due, urgent first; but a part of the tokens is for the others where they wait too, and repeats get what is left. */
async function takeCandidates (tx: Tx, edgegrid: string, type: DebtRow['type'], limit: number, now: Date): Promise<Due[]> {
  const take = async (priority: number, most: number, order = sql`asc`) => most < 1
    ? []
    : (await sql<Due>`
        select id, network, action, object, suspect, due_at, limited from debts
        where edgegrid = ${edgegrid} and type = ${type} and priority = ${priority} and due_at <= ${now}::timestamptz
          and (claimed_until is null or claimed_until < ${now}::timestamptz)
        order by due_at ${order} limit ${most}`.execute(tx.kysely)).rows
  const oldest = await take(priorities.urgent, limit)
  const newest = oldest.length < limit ? [] : await take(priorities.urgent, part(limit, newestShare), sql`desc`)
  const urgent = [...new Map([...newest, ...oldest].map(each => [each.id, each])).values()].slice(0, limit)
  const room = Math.max(limit - urgent.length, part(limit, lesserShare))
  const bulk = await take(priorities.bulk, room)
  const events = await take(priorities.event, Math.max(room - bulk.length, part(room, lesserShare)))
  const lesser = [...bulk.slice(0, Math.max(room - events.length, 0)), ...events].slice(0, room)
  const first = [...urgent.slice(0, limit - lesser.length), ...lesser]
  if (first.length < limit) return [...first, ...await take(priorities.repeat, limit - first.length)]
  await sql`delete from debts where edgegrid = ${edgegrid} and type = ${type} and priority = ${priorities.repeat}
    and due_at < ${now}::timestamptz - ${dropRepeatMs}::int * interval '1 millisecond'`.execute(tx.kysely)
  return first
}

/**
 * Holds every debt of the objects: also those of other paths, and those that were put off, so that one request pays all
 * of them. Where one of these wants a stronger action than the parcel has, the object waits for the next parcel.
 */
async function hold (tx: Tx, edgegrid: string, type: DebtRow['type'], parcels: Parcel[], now: Date): Promise<Array<Parcel & { debts: HeldDebt[] }>> {
  if (parcels.length === 0) return []
  const wanted = parcels.flatMap(({ network, objects }, index) => objects.map(object => ({ network, object, index })))
  const { rows } = await sql<HeldDebt & { parcel: number }>`
    with taken as (
      select debt.id, wanted.index from unnest(${wanted.map(each => each.object)}::text[], ${wanted.map(each => each.network)}::text[], ${wanted.map(each => each.index)}::int[])
        as wanted (object, network, index)
      cross join lateral (
        -- By object alone and with OFFSET, so that no other index is tried, which in a young table has no statistics to warn of it.
        select * from debts where md5(object) = md5(wanted.object) offset 0 for update skip locked
      ) as debt
      where debt.object = wanted.object and edgegrid = ${edgegrid} and debt.network = wanted.network and type = ${type} and due_at is not null
        and (due_at <= ${now}::timestamptz or (not repeat and settled_at <= ${now}::timestamptz))
        and (claimed_until is null or claimed_until < ${now}::timestamptz)
    )
    update debts set claimed_until = ${now}::timestamptz + ${claimMs}::int * interval '1 millisecond' from taken where debts.id = taken.id
    returning debts.id, lane, object, action, repeat, version, attempts, limited, due_at, first_at, taken.index as parcel`.execute(tx.kysely)
  const stronger = rows.filter(row => row.action === 'delete' && parcels[row.parcel]?.action !== 'delete')
  const leaving = new Set(stronger.map(row => `${row.parcel} ${row.object}`))
  const staying = rows.filter(row => !leaving.has(`${row.parcel} ${row.object}`))
  if (stronger.length > 0) {
    const ids = rows.filter(row => leaving.has(`${row.parcel} ${row.object}`)).map(row => row.id)
    await sql`update debts set claimed_until = null, action = 'delete' where id = any(${ids}::bigint[])`.execute(tx.kysely)
  }
  await sql`
    update jobs set state = 'purging', timeline = timeline || ${step(now, 'purging', 'asking Fast Purge')}::jsonb
    where state = 'settling' and id in (select job_id from waiters where debt_id = any(${staying.map(row => row.id)}::bigint[]) and settled_at <= ${now}::timestamptz)`.execute(tx.kysely)
  const byParcel = Map.groupBy(staying, row => row.parcel)
  return parcels.map((parcel, index) => {
    const debts = byParcel.get(index) ?? []
    const held = new Set(debts.map(debt => debt.object))
    return { ...parcel, debts, objects: parcel.objects.filter(object => held.has(object)) }
  })
}
