import { createHash } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import { AppError } from '../errors.ts'
import type { Tx } from '../store/store.ts'
import type { JobRow, Tables } from '../store/tables.ts'
import { canonicalJson } from './canonical-json.ts'

/** How long a key stands for its first request. */
export const keptMs = 86_400_000

/** A request that its sender may repeat: the same key stands for the same job. */
export interface Repeatable {
  /** Whose key it is, and of which route: others may use the same one. */
  scope: string
  key: string
  bodyHash: string
}

/** What makes a request repeatable; bodies compare as canonical JSON. */
export function repeatable (token: string | undefined, route: string, key: string, body: unknown): Repeatable {
  return { scope: `${token ?? ''} ${route}`, key, bodyHash: createHash('sha256').update(canonicalJson(body)).digest('hex') }
}

interface Kept { scope: string, key: string, body_sha256: string, job_id: string }

/** The job that a key stands for already; undefined if the key is new. Throws `idempotency_key_reused` for another body. */
export async function recall (kysely: Kysely<Tables>, wanted: Repeatable, now: Date): Promise<JobRow | undefined> {
  const mine = kysely.selectFrom('idempotency_keys').where('scope', '=', wanted.scope).where('key', '=', wanted.key)
  const kept = await mine.selectAll().where('created_at', '>=', new Date(now.getTime() - keptMs)).executeTakeFirst()
  return kept === undefined ? undefined : await kysely.selectFrom('jobs').selectAll().where('id', '=', jobOf(kept, wanted)).executeTakeFirst()
}

function jobOf (kept: Kept, wanted: Repeatable): string {
  if (kept.body_sha256 === wanted.bodyHash) return kept.job_id
  throw new AppError('idempotency_key_reused', `The Idempotency-Key ${JSON.stringify(wanted.key)} came with another body before: use a new key for another request.`)
}

/**
 * Takes keys for new jobs, in the transaction that stores them. Whoever comes second waits for the first one's commit,
 * on whichever replica, and gets its job. Returns for each wanted key the id of the job it stands for, or the refusal.
 */
export async function reserve (tx: Tx, wanted: ReadonlyArray<Repeatable & { jobId: string }>, now: Date): Promise<Array<string | AppError>> {
  const name = ({ scope, key }: { scope: string, key: string }) => JSON.stringify([scope, key])
  const first = new Map(wanted.toReversed().map(each => [name(each), each]))
  // Sorted, so that two replicas which want the same keys do not wait for each other.
  const asked = [...first.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, each]) => each)
  if (asked.length === 0) return []
  await sql`
    insert into idempotency_keys (scope, key, body_sha256, job_id, created_at)
    select scope, key, body, job, ${now}::timestamptz
    from unnest(${asked.map(each => each.scope)}::text[], ${asked.map(each => each.key)}::text[], ${asked.map(each => each.bodyHash)}::text[], ${asked.map(each => each.jobId)}::uuid[])
      with ordinality as asked (scope, key, body, job, place) order by place
    on conflict (scope, key) do update set body_sha256 = excluded.body_sha256, job_id = excluded.job_id, created_at = excluded.created_at
      where idempotency_keys.created_at < ${new Date(now.getTime() - keptMs)}::timestamptz`.execute(tx.kysely)
  const { rows } = await sql<Kept>`
    select kept.* from idempotency_keys as kept
    join unnest(${asked.map(each => each.scope)}::text[], ${asked.map(each => each.key)}::text[]) as asked (scope, key) using (scope, key)`.execute(tx.kysely)
  const kept = new Map(rows.map(row => [name(row), row]))
  return wanted.map(each => {
    try {
      return jobOf(kept.get(name(each)) as Kept, each)
    } catch (error) {
      return error as AppError
    }
  })
}

/** Forgets keys that stand for nothing any more. */
export async function dropKeys (kysely: Kysely<Tables>, now: Date): Promise<void> {
  await sql`delete from idempotency_keys where (scope, key) in
    (select scope, key from idempotency_keys where created_at < ${new Date(now.getTime() - keptMs)}::timestamptz limit 10000)`.execute(kysely)
}
