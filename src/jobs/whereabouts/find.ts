import { sql, type Kysely, type Selectable } from 'kysely'
import type { DebtRow, JobRow, ObjectRow, PurgesTable, Tables } from '../../store/tables.ts'
import { selectJobs } from '../list.ts'

/** The newest of an object's jobs are shown, and the oldest of what is owed for it. */
const mostJobs = 20
const mostDebts = 200
/** Of how many objects of the edge the last purge is looked for, and among how many of its purges. */
const mostObjects = 200
const newestPurges = 10

/** The last purge of one object of the edge that was accepted. */
export type LastPurge = Pick<Selectable<PurgesTable>, 'network' | 'action' | 'type' | 'purge_id' | 'support_id' | 'accepted_at'> & { object: string }

/** All the database tells of one target path; `ledger` is missing where nothing was ever copied. */
export interface Place { lane: string, ledger?: ObjectRow, jobs: JobRow[], owed: DebtRow[], purges: LastPurge[] }

/** All the database tells of one object: its jobs, newest first, and each path it went to or shall go to. */
export async function findObject (kysely: Kysely<Tables>, bucket: string, key: string): Promise<{ jobs: JobRow[], places: Place[] }> {
  const [ledger, jobs] = await Promise.all([
    kysely.selectFrom('objects').selectAll().where('bucket', '=', bucket).where('key', '=', key).execute(),
    selectJobs(kysely, { bucket, key, limit: mostJobs }).execute()
  ])
  const lanes = [...new Set([...ledger.map(row => row.lane), ...jobs.flatMap(row => row.lane ?? [])])]
  if (lanes.length === 0) return { jobs, places: [] }
  const owed = await kysely.selectFrom('debts').selectAll().where('lane', 'in', lanes).orderBy('id').limit(mostDebts).execute()
  const wanted = (lane: string) => [...owed.filter(debt => debt.lane === lane).map(debt => debt.object), ...jobs.filter(row => row.lane === lane).flatMap(row => row.purge?.objects.map(String) ?? [])]
  const purges = await findPurges(kysely, [...new Set(lanes.flatMap(wanted))].slice(0, mostObjects))
  return {
    jobs,
    places: lanes.map(lane => {
      const row = ledger.find(row => row.lane === lane)
      const named = new Set(wanted(lane))
      return { lane, ...(row === undefined ? {} : { ledger: row }), jobs: jobs.filter(row => row.lane === lane), owed: owed.filter(debt => debt.lane === lane), purges: purges.filter(({ object }) => named.has(object)) }
    })
  }
}

/** For each URL, CP code and tag, the last request on each network that Fast Purge accepted, whoever asked for it. */
async function findPurges (kysely: Kysely<Tables>, objects: string[]): Promise<LastPurge[]> {
  if (objects.length === 0) return []
  const { rows } = await sql<LastPurge>`
    select distinct on (object, network) object, network, action, type, purge_id, support_id, accepted_at
    from unnest(${objects}::text[]) as named (object)
    cross join lateral (
      select request_id from purge_objects where object_hash = hashtextextended(object, 0) order by request_id desc limit ${newestPurges}
    ) as requests join purges on purges.id = request_id
    order by object, network, accepted_at desc`.execute(kysely)
  return rows
}
