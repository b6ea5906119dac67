import { sql, type Kysely } from 'kysely'
import type { Store } from '../../store/store.ts'
import type { DebtRow, PurgesTable, Tables } from '../../store/tables.ts'
import type { Selectable } from 'kysely'
import { idAt, slackMs } from '../job.ts'

/** A request that Fast Purge accepted, as the database returns it. */
export type PurgeRow = Selectable<PurgesTable>

/** Which requests a list shows. */
export interface PurgeFilter {
  network?: DebtRow['network']
  action?: DebtRow['action']
  type?: DebtRow['type']
  /** A URL, ARL or tag, or a CP code as text. */
  object?: string
  jobId?: string
  since?: Date
  until?: Date
  /** Only requests older than this id: the cursor. */
  after?: string
  limit: number
}

const networks = ['production', 'staging'] as const
const actions = ['invalidate', 'delete'] as const
const types = ['url', 'cpcode', 'tag'] as const

/**
 * The requests that match, newest first. Each filter has an index in the order of the ids: by object and by job the
 * narrower one is used, and otherwise each combination of network, action and type is read from its own end.
 */
export function selectPurges (kysely: Kysely<Tables>, filter: PurgeFilter) {
  const { object, jobId, since, until, after, limit } = filter
  // Ids begin with their time, so they bound the search; clocks that differ are why the times decide in the end.
  const bounds = [
    ...(since === undefined ? [] : [sql`id >= ${idAt(since.getTime() - slackMs)} and accepted_at >= ${since}::timestamptz`]),
    ...(until === undefined ? [] : [sql`id < ${idAt(until.getTime() + slackMs)} and accepted_at < ${until}::timestamptz`]),
    ...(after === undefined ? [] : [sql`id < ${after}`])
  ]
  const kind = (['network', 'action', 'type'] as const).flatMap(name => filter[name] === undefined ? [] : [sql`${sql.ref(name)} = ${filter[name]}`])
  const job = jobId === undefined ? [] : [sql`job_ids @> array[${jobId}]::uuid[]`]
  const newest = (from: typeof bounds[0], conditions: typeof bounds) =>
    sql<PurgeRow>`select purges.* from ${from} where ${sql.join([sql`true`, ...conditions], sql` and `)} order by id desc limit ${limit}`
  if (object !== undefined) {
    const named = sql`(select request_id as id from purge_objects where object_hash = hashtextextended(${object}, 0)) as named join purges using (id)`
    return newest(named, [...bounds, ...kind, ...job, sql`(objects @> jsonb_build_array(${object}::text) or type = 'cpcode')`])
  }
  if (jobId !== undefined) return newest(sql`purges`, [...bounds, ...kind, ...job])
  const pick = <T extends string>(all: readonly T[], one: T | undefined) => one === undefined ? all : [one]
  const each = pick(networks, filter.network).flatMap(network => pick(actions, filter.action).flatMap(action => pick(types, filter.type).map(type =>
    sql`(${newest(sql`purges`, [sql`network = ${network} and action = ${action} and type = ${type}`, ...bounds])})`)))
  return sql<PurgeRow>`select * from (${sql.join(each, sql` union all `)}) as purges order by id desc limit ${limit}`
}

const dropAtOnce = 200

/** Forgets requests from before a moment, with the index of their objects. */
export async function dropOldPurges (store: Store, before: Date): Promise<void> {
  for (;;) {
    const { rows } = await sql<{ count: number }>`
      with gone as (
        delete from purges where id in (select id from purges where id < ${idAt(before.getTime())} and accepted_at < ${before}::timestamptz order by id limit ${dropAtOnce}) returning id, objects
      ), forgotten as (
        delete from purge_objects using (select id, hashtextextended(jsonb_array_elements_text(objects), 0) as hash from gone) as named
        where object_hash = named.hash and request_id = named.id
      )
      select count(*) as count from gone`.execute(store.kysely)
    if ((rows[0]?.count ?? 0) < dropAtOnce) return
  }
}
