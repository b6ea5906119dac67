import type { Kysely, Selectable } from 'kysely'
import { documentedLimits, newBucket, refill, spendable, type BucketName, type TokenBucket } from '../../../purge/budget.ts'
import type { Tx } from '../../../store/store.ts'
import type { PurgeBucketsTable, Tables } from '../../../store/tables.ts'

/** The token buckets of one credential, locked until the transaction ends and counted up to its moment. */
export type Buckets = Map<BucketName, TokenBucket>

/** Reads and locks buckets, one after the other by name so that no two transactions wait for each other. */
export async function lockBuckets (tx: Tx, edgegrid: string, names: BucketName[], budget: number, now: Date): Promise<Buckets> {
  const rows = await tx.kysely.selectFrom('purge_buckets').selectAll()
    .where('edgegrid', '=', edgegrid).where('bucket', 'in', names).orderBy('bucket').forUpdate().execute()
  const known = new Map(rows.map(row => [row.bucket, refill(toBucket(row), budget, now)]))
  return new Map(names.map(name => [name, known.get(name) ?? newBucket(name, budget, now)]))
}

const toBucket = (row: Selectable<PurgeBucketsTable>): TokenBucket => ({
  size: row.size,
  perSecond: row.per_second,
  own: row.own,
  level: row.level,
  foreignPerSecond: row.foreign_per_second,
  foreignBurst: row.foreign_burst,
  at: row.at,
  seenAt: row.seen_at,
  heldUntil: row.held_until
})

/** What may be spent of each bucket now; of several accounts, the least. */
export async function readTokens (kysely: Kysely<Tables>, budget: number, now: Date): Promise<Map<BucketName, number>> {
  const rows = await kysely.selectFrom('purge_buckets').selectAll().execute()
  return new Map((Object.keys(documentedLimits) as BucketName[]).map(name => {
    const buckets = rows.filter(row => row.bucket === name).map(row => refill(toBucket(row), budget, now))
    return [name, Math.min(...(buckets.length === 0 ? [newBucket(name, budget, now)] : buckets).map(bucket => spendable(bucket, budget)))]
  }))
}

/** Writes buckets back. */
export async function saveBuckets (tx: Tx, edgegrid: string, buckets: Buckets): Promise<void> {
  const rows = [...buckets].map(([bucket, known]) => ({
    edgegrid,
    bucket,
    size: known.size,
    per_second: known.perSecond,
    own: known.own,
    level: known.level,
    foreign_per_second: known.foreignPerSecond,
    foreign_burst: known.foreignBurst,
    at: known.at,
    seen_at: known.seenAt,
    held_until: known.heldUntil
  }))
  await tx.kysely.insertInto('purge_buckets').values(rows).onConflict(conflict => conflict.columns(['edgegrid', 'bucket']).doUpdateSet(eb => ({
    size: eb.ref('excluded.size'),
    per_second: eb.ref('excluded.per_second'),
    own: eb.ref('excluded.own'),
    level: eb.ref('excluded.level'),
    foreign_per_second: eb.ref('excluded.foreign_per_second'),
    foreign_burst: eb.ref('excluded.foreign_burst'),
    at: eb.ref('excluded.at'),
    seen_at: eb.ref('excluded.seen_at'),
    held_until: eb.ref('excluded.held_until')
  }))).execute()
}
