import { sql, type Kysely } from 'kysely'
import type { JobRow, Tables } from '../store/tables.ts'
import { idAt, listedColumns, reviveJob, slackMs, type ListedJob, type WrittenJob } from './job.ts'

/** Which jobs a list shows. */
export interface JobFilter {
  states?: string[]
  kinds?: string[]
  bucket?: string
  /** Only these buckets, whatever else is asked for. */
  buckets?: string[]
  key?: string
  prefix?: string
  label?: string
  since?: Date
  until?: Date
  /** Only jobs older than this id: the cursor. */
  after?: string
  limit: number
}

/** The jobs that match, newest first: ids are in the order of creation, so the id is the cursor. */
export function selectJobs (kysely: Kysely<Tables>, filter: JobFilter) {
  let query = kysely.selectFrom('jobs').select(listedColumns)
  if (filter.label !== undefined) query = query.where('id', 'in', selectLabelled(kysely, filter.label, filter.after))
  if (filter.bucket !== undefined) query = query.where('bucket', '=', filter.bucket)
  if (filter.buckets !== undefined) query = query.where('bucket', 'in', filter.buckets)
  if (filter.key !== undefined) query = query.where('key', '=', filter.key)
  if (filter.prefix !== undefined) query = query.where('key', '>=', filter.prefix).where('key', '<', `${filter.prefix}\u{10ffff}`)
  if (filter.kinds !== undefined) query = query.where('kind', 'in', filter.kinds as Array<JobRow['kind']>)
  // Ids begin with their time, so they bound the search; a clock that was set back is why the times decide in the end.
  if (filter.since !== undefined) query = query.where('created_at', '>=', filter.since).where('id', '>=', idAt(filter.since.getTime() - slackMs))
  if (filter.until !== undefined) query = query.where('created_at', '<', filter.until).where('id', '<', idAt(filter.until.getTime() + slackMs))
  if (filter.after !== undefined) query = query.where('id', '<', filter.after)
  if (filter.states !== undefined) query = query.where('state', 'in', filter.states as Array<JobRow['state']>)
  return query.orderBy('id', 'desc').limit(filter.limit)
}

/**
 * The jobs that match, newest first. The database writes them as one text: read field by field, a page costs the embedded
 * one, and the thread it lives in, several times as much.
 */
export async function listJobs (kysely: Kysely<Tables>, filter: JobFilter): Promise<ListedJob[]> {
  const { rows: [row] } = await sql<{ page: string }>`select coalesce(json_agg(page), '[]')::text as page from ${selectJobs(kysely, filter)} as page`.execute(kysely)
  return (JSON.parse(row?.page ?? '[]') as WrittenJob[]).map(reviveJob)
}

function selectLabelled (kysely: Kysely<Tables>, label: string, after?: string) {
  const query = kysely.selectFrom('job_labels').select('job_id').where('label', '=', label)
  return after === undefined ? query : query.where('job_id', '<', after)
}
