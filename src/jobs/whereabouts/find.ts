import { sql, type Kysely, type Selectable } from 'kysely'
import type { DebtRow, ObjectRow, PurgesTable, Tables } from '../../store/tables.ts'
import { reviveJob, type ListedJob, type WrittenJob } from '../job.ts'
import { selectJobs } from '../list.ts'

/** The newest of an object's jobs are shown, and the oldest of what is owed for it. */
const mostJobs = 20
const mostDebts = 200
/** Of how many objects of the edge the last purge is looked for, and among how many of its purges. */
const mostObjects = 200
const newestPurges = 10

/** The last purge of one object of the edge that was accepted. */
export type LastPurge = Pick<Selectable<PurgesTable>, 'network' | 'action' | 'type' | 'purge_id' | 'support_id' | 'accepted_at'> & { object: string }

/** One purge that is owed. */
export type OwedPurge = Pick<DebtRow, 'lane' | 'edgegrid' | 'object' | 'type' | 'network' | 'action' | 'repeat' | 'due_at'>

/** All the database tells of one target path; `ledger` is missing where nothing was ever copied. */
export interface Place { lane: string, ledger?: ObjectRow, jobs: ListedJob[], owed: OwedPurge[], purges: LastPurge[] }

/** What the database writes of an object in JSON. */
interface Written {
  ledger: Array<Omit<ObjectRow, 'committed_at'> & { committed_at: string }> | null
  jobs: WrittenJob[] | null
  owed: Array<Omit<OwedPurge, 'due_at'> & { due_at: string | null }> | null
  purges: Array<Omit<LastPurge, 'accepted_at'> & { accepted_at: string }> | null
}

/**
 * All the database tells of one object: its jobs, newest first, and each path it went to or shall go to. One question, so
 * that it is told of one moment, and waits once where the database is busy.
 */
export async function findObject (kysely: Kysely<Tables>, bucket: string, key: string): Promise<{ jobs: ListedJob[], places: Place[] }> {
  const { rows: [row] } = await sql<{ found: string }>`
    with ledger as (select * from objects where bucket = ${bucket} and key = ${key}),
    newest as ${selectJobs(kysely, { bucket, key, limit: mostJobs })},
    owed as (
      select id, lane, edgegrid, object, type, network, action, repeat, due_at from debts
      where lane in (select lane from ledger union select lane from newest where lane is not null) order by id limit ${mostDebts}
    ),
    wanted as (
      select object from owed union
      select jsonb_array_elements_text(purge->'objects') from newest where purge is not null limit ${mostObjects}
    ),
    -- For each of them the last request on each network that Fast Purge accepted, whoever asked for it.
    last as (
      select distinct on (object, network) object, network, action, type, purge_id, support_id, accepted_at
      from wanted cross join lateral (
        select request_id from purge_objects where object_hash = hashtextextended(object, 0) order by request_id desc limit ${newestPurges}
      ) as requests join purges on purges.id = request_id
      order by object, network, accepted_at desc
    )
    select json_build_object('ledger', (select json_agg(ledger) from ledger), 'jobs', (select json_agg(newest) from newest),
      'owed', (select json_agg(owed) from owed), 'purges', (select json_agg(last) from last))::text as found`.execute(kysely)
  return arrange(JSON.parse(row?.found ?? '{}') as Written)
}

function arrange (written: Written): { jobs: ListedJob[], places: Place[] } {
  const ledger = (written.ledger ?? []).map(each => ({ ...each, committed_at: new Date(each.committed_at) }))
  const jobs = (written.jobs ?? []).map(reviveJob)
  const owed = (written.owed ?? []).map(each => ({ ...each, due_at: each.due_at === null ? null : new Date(each.due_at) }))
  const purges = (written.purges ?? []).map(each => ({ ...each, accepted_at: new Date(each.accepted_at) }))
  const lanes = [...new Set([...ledger.map(row => row.lane), ...jobs.flatMap(row => row.lane ?? [])])]
  return {
    jobs,
    places: lanes.map(lane => {
      const row = ledger.find(row => row.lane === lane)
      const mine = { jobs: jobs.filter(row => row.lane === lane), owed: owed.filter(debt => debt.lane === lane) }
      const named = new Set([...mine.owed.map(debt => debt.object), ...mine.jobs.flatMap(row => row.purge?.objects.map(String) ?? [])])
      return { lane, ...(row === undefined ? {} : { ledger: row }), ...mine, purges: purges.filter(({ object }) => named.has(object)) }
    })
  }
}
