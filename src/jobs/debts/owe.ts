import { sql } from 'kysely'
import type { PurgeObject } from '../../purge/batch.ts'
import type { Trip, Tx } from '../../store/store.ts'
import type { DebtRow } from '../../store/tables.ts'

/**
 * A commit that is never overtaken for longer than this: its purge goes out though newer commits keep coming. It is to be
 * accepted within 30 seconds, and still waits for company and for its answer.
 */
const longestPostponementMs = 28_000

/** Who goes first. Small calls do not wait behind large ones, and neither behind events; a repeat is nobody's hurry. */
export const priorities = { urgent: 0, bulk: 1, event: 2, repeat: 3 } as const
/** A call for more objects than this is no hurry of a person's. */
const urgentObjects = 100

/** The priority of a call by REST. */
export function restPriority (objectCount: number): number {
  return objectCount <= urgentObjects ? priorities.urgent : priorities.bulk
}

/** What is owed after a commit, or asked for by a purge. Moments are those of the database: clocks of replicas differ. */
export interface Owing {
  lane: string
  edgegrid: string
  network: DebtRow['network']
  type: DebtRow['type']
  action: DebtRow['action']
  objects: PurgeObject[]
  /** False = owed, but nobody wants the purge yet. */
  asked: boolean
  /** From how long after this commit on a purge pays it. */
  delayMs: number
  priority: number
  /** A second purge follows the first. */
  repeat: boolean
  /** A whole CP code that an event alone wants purged. */
  limited?: boolean
  /** Delivery CP codes that may be invalidated in place of these URLs. */
  cpCodes?: readonly number[]
  jobIds: string[]
}

interface Debt extends Omit<Owing, 'objects' | 'jobIds'> { object: string, jobIds: Set<string> }

/** One debt per object, path and network, however many jobs of one transaction owe it. */
function unite (owings: Owing[]): Debt[] {
  const debts = new Map<string, Debt>()
  for (const { objects, jobIds, ...owing } of owings) {
    for (const object of objects) {
      const key = JSON.stringify([owing.lane, object, owing.edgegrid, owing.network, owing.type])
      const known = debts.get(key)
      if (known === undefined) debts.set(key, { ...owing, object: String(object), jobIds: new Set(jobIds) })
      else {
        known.action = owing.action === 'delete' ? 'delete' : known.action
        known.asked ||= owing.asked
        known.delayMs = Math.max(known.delayMs, owing.delayMs)
        known.priority = Math.min(known.priority, owing.priority)
        known.repeat ||= owing.repeat
        known.limited &&= owing.limited ?? false
        for (const id of jobIds) known.jobIds.add(id)
      }
    }
  }
  return [...debts.values()]
}

/**
 * Writes down what is owed, all of it in one statement. A debt that stands already is taken over: it is put off until the
 * new commit has settled, but not so long that the first waits beyond 30 seconds; `delete` beats `invalidate`.
 */
export async function owe (tx: Tx, owings: Owing[]): Promise<void> {
  const trip = tx.trip()
  packOwe(trip, owings)
  await trip.send()
}

/** `owe` as a part of a trip. */
export function packOwe (trip: Trip, owings: Owing[]): void {
  const debts = unite(owings)
  if (debts.length === 0) return
  const column = <K extends keyof Debt>(name: K) => debts.map(debt => debt[name])
  const waiting = debts.flatMap(({ jobIds }, index) => [...jobIds].map(id => ({ index: index + 1, id })))
  trip.add(sql`
    with owing as (
      select * from unnest(${column('lane')}::text[], ${column('edgegrid')}::text[], ${column('network')}::text[], ${column('type')}::text[],
        ${column('object')}::text[], ${column('action')}::text[], ${column('asked')}::boolean[], ${column('delayMs')}::float8[],
        ${column('priority')}::int[], ${column('repeat')}::boolean[], ${debts.map(debt => debt.limited ?? false)}::boolean[],
        ${debts.map(debt => debt.cpCodes === undefined || debt.cpCodes.length === 0 ? null : `{${debt.cpCodes.join(',')}}`)}::text[])
        with ordinality as owing (lane, edgegrid, network, type, object, action, asked, delay_ms, priority, repeats, limited, cp_codes, index)
    ), standing as (
      insert into debts (lane, edgegrid, network, type, object, action, due_at, first_at, settled_at, wants_repeat, priority, limited, cp_codes)
      select lane, edgegrid, network, type, object, action, case when asked then now() + delay_ms * interval '1 millisecond' end, now(),
        now() + delay_ms * interval '1 millisecond', repeats, priority, limited, cp_codes::int[]
      from owing order by object collate "C", lane collate "C"
      on conflict (md5(lane || chr(1) || object), edgegrid, network, type, repeat) do update set
        action = case when debts.action = 'delete' then 'delete' else excluded.action end,
        due_at = case
          when excluded.due_at is null then debts.due_at
          when debts.due_at is null then excluded.due_at
          else least(excluded.due_at, greatest(debts.due_at, debts.first_at + ${longestPostponementMs}::int * interval '1 millisecond'))
        end,
        settled_at = greatest(debts.settled_at, excluded.settled_at),
        wants_repeat = debts.wants_repeat or excluded.wants_repeat,
        priority = least(debts.priority, excluded.priority),
        limited = debts.limited and excluded.limited,
        cp_codes = excluded.cp_codes,
        version = debts.version + 1,
        attempts = 0
      returning id, lane, edgegrid, network, type, object
    )
    insert into waiters (debt_id, job_id, settled_at)
    select standing.id, waiting.job_id, now() + owing.delay_ms * interval '1 millisecond'
    from unnest(${waiting.map(each => each.index)}::int[], ${waiting.map(each => each.id)}::uuid[]) as waiting (index, job_id)
    join owing using (index) join standing using (object, lane, edgegrid, network, type)
    on conflict do nothing`)
}

/** A job that wants all that its path still owes. */
export interface Call { lane: string, jobId: string, priority: number }

/** Makes all that paths still owe due, and lets the jobs wait for it. Returns the paths that owed anything. */
export async function callIn (tx: Tx, calls: Call[]): Promise<Set<string>> {
  const trip = tx.trip()
  const [lanes] = await Promise.all([packCallIn(trip, calls), trip.send()])
  return lanes
}

/** `callIn` as a part of a trip. */
export async function packCallIn (trip: Trip, calls: Call[]): Promise<Set<string>> {
  if (calls.length === 0) return new Set()
  const lanes = [...new Set(calls.map(call => call.lane))]
  const rows = await trip.add<{ lane: string }>(sql`
    with owed as (
      select id from debts where lane = any(${lanes}::text[]) and not repeat order by object, lane for update
    ), calls as (
      select * from unnest(${calls.map(call => call.lane)}::text[], ${calls.map(call => call.jobId)}::uuid[], ${calls.map(call => call.priority)}::int[])
        as calls (lane, job_id, priority)
    ), due as (
      update debts set due_at = coalesce(due_at, greatest(settled_at, now())), version = version + 1,
        priority = least(debts.priority, called.priority), limited = limited and called.priority >= ${priorities.event}
      from owed, (select lane, min(priority) as priority from calls group by lane) as called
      where debts.id = owed.id and called.lane = debts.lane returning debts.id, debts.lane, debts.settled_at
    ), waiting as (
      insert into waiters (debt_id, job_id, settled_at)
      select due.id, calls.job_id, due.settled_at from due join calls using (lane) on conflict do nothing
    )
    select distinct lane from due`)
  return new Set(rows.map(row => row.lane))
}
