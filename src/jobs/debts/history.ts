import { sql, type RawBuilder, type Selectable } from 'kysely'
import type { Store } from '../../store/store.ts'
import type { DebtRow, JobRow, PurgesTable } from '../../store/tables.ts'
import type { Purge } from '../../schemas.ts'
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
  /** Sent for a job of this bucket, of this key, with this label. */
  bucket?: string
  key?: string
  label?: string
  since?: Date
  until?: Date
  /** Only requests older than this id: the cursor. */
  after?: string
  limit: number
}

const networks = ['production', 'staging'] as const
const actions = ['invalidate', 'delete'] as const
const types = ['url', 'cpcode', 'tag'] as const

type Conditions = Array<RawBuilder<unknown>>
const all = (conditions: Conditions) => sql.join([sql`true`, ...conditions], sql` and `)

/**
 * The requests that match, newest first. By object or by job the few that there are come from an index of their own;
 * else each combination of network, action and type is read from its own end.
 */
export function selectPurges (filter: PurgeFilter): RawBuilder<PurgeRow> {
  const { object, since, until, after, limit } = filter
  // Ids begin with their time, so they bound the search; clocks that differ are why the times decide in the end.
  const bounds = [
    ...(since === undefined ? [] : [sql`id >= ${idAt(since.getTime() - slackMs)} and accepted_at >= ${since}::timestamptz`]),
    ...(until === undefined ? [] : [sql`id < ${idAt(until.getTime() + slackMs)} and accepted_at < ${until}::timestamptz`]),
    ...(after === undefined ? [] : [sql`id < ${after}`])
  ]
  const kind = (['network', 'action', 'type'] as const).flatMap(name => filter[name] === undefined ? [] : [sql`${sql.ref(name)} = ${filter[name]}`])
  const jobs = ofJobs(filter)
  const newest = (from: Conditions[0], conditions: Conditions) =>
    sql<PurgeRow>`select purges.* from ${from} where ${all(conditions)} order by id desc limit ${limit}`
  if (object !== undefined) {
    const named = sql`(select request_id as id from purge_objects where object_hash = hashtextextended(${object}, 0)) as named join purges using (id)`
    return newest(named, [...bounds, ...kind, ...jobs, sql`(objects @> jsonb_build_array(${object}::text) or type = 'cpcode')`])
  }
  // OFFSET keeps this from being searched in the order of the ids, which takes long where few match.
  if (jobs.length > 0 || filter.bucket !== undefined) {
    return newest(jobs.length === 0 ? sql`purges` : sql`(select * from purges where ${all(jobs)} offset 0) as purges`, [...bounds, ...kind, ...ofBucket(filter)])
  }
  if (kind.length === 0) return newest(sql`purges`, bounds)
  const pick = <T extends string>(every: readonly T[], one: T | undefined) => one === undefined ? every : [one]
  const each = pick(networks, filter.network).flatMap(network => pick(actions, filter.action).flatMap(action => pick(types, filter.type).map(type =>
    sql`(${newest(sql`purges`, [sql`network = ${network} and action = ${action} and type = ${type}`, ...bounds])})`)))
  return sql<PurgeRow>`select * from (${sql.join(each, sql` union all `)}) as purges order by id desc limit ${limit}`
}

/** What narrows a list down to a few jobs. */
function ofJobs ({ jobId, bucket, key, label }: PurgeFilter): Conditions {
  const named = [
    ...(key === undefined ? [] : [sql`key = ${key}`]),
    ...(bucket === undefined ? [] : [sql`bucket = ${bucket}`]),
    ...(label === undefined ? [] : [sql`id in (select job_id from job_labels where label = ${label})`])
  ]
  return [
    ...(jobId === undefined ? [] : [sql`job_ids @> array[${jobId}]::uuid[]`]),
    ...(key === undefined && label === undefined ? [] : [sql`job_ids && array(select id from jobs where ${all(named)})`])
  ]
}

/** A bucket alone is in so many jobs that the requests are looked at one by one. */
function ofBucket ({ bucket, key, label }: PurgeFilter): Conditions {
  return bucket === undefined || key !== undefined || label !== undefined ? [] : [sql`exists (select from jobs where jobs.id = any(job_ids) and bucket = ${bucket})`]
}

/** An accepted request as callers see it. */
export function toPurge (row: PurgeRow): Purge {
  return {
    id: row.id,
    type: row.type,
    action: row.action,
    network: row.network,
    edgegrid: row.edgegrid,
    objects: row.objects,
    count: row.count,
    purgeId: row.purge_id,
    supportId: row.support_id,
    acceptedAt: row.accepted_at.toISOString(),
    jobIds: row.job_ids
  }
}

/** As much of a request as concerns one job. */
export function onlyOf ({ id, purge, purged }: JobRow, request: Purge): Purge {
  const wanted = new Set([...purge?.objects ?? [], ...purged?.escalated?.cpCodes ?? []])
  return { ...request, objects: request.objects.filter(object => wanted.has(object)), jobIds: [id] }
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
