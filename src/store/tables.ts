import type { ColumnType, Generated, JSONColumnType, Selectable } from 'kysely'
import type { Problem } from '../errors.ts'

/** What a caller or an event asked for, as far as it is not a column of its own. */
export interface JobRequest {
  force?: boolean
  onMissing?: 'fail' | 'delete'
  purge?: PurgeWish
  /** An operator let it go on although it was held. */
  released?: boolean
  /** Of a purge: the EdgeGrid credentials it goes out with, and the delivery CP codes that may take the place of its URLs. */
  edgegrid?: string
  escalateTo?: readonly number[]
}

/** The `purge` member of a request: what it says replaces what the rule says. */
export interface PurgeWish {
  by?: 'url' | 'cpcode' | 'tag' | 'none'
  action?: 'invalidate' | 'delete'
  network?: 'production' | 'staging'
  urls?: string[]
  cpCodes?: number[]
  tags?: string[]
}

/** Where a job came from. `token` is the name of an API token, never its secret. */
export interface JobSource {
  type: 'rest' | 'sns' | 'events' | 'reconcile'
  token?: string
  messageId?: string
  topicArn?: string
}

/** What a job's purge comprises: written once. */
export interface PurgePlan {
  by: 'url' | 'cpcode' | 'tag'
  action: 'invalidate' | 'delete'
  network: 'production' | 'staging'
  objects: Array<string | number>
}

/** How far a job's purge has come: rewritten with each request, and so kept apart from its objects, which may be many. */
export interface PurgeProgress {
  requests?: Array<{ purgeId: string, supportId: string, count: number, acceptedAt: string }>
  purgeId?: string
  acceptedAt?: string
  expectedLiveAt?: string
  refused?: Array<{ object: string | number, reason: string }>
  /** The delivery CP codes that were invalidated in place of the URLs that waited. */
  escalated?: { cpCodes: number[], at: string }
}

/** One step of a job's life. */
export interface TimelineEntry { at: string, step: string, detail: string }

type Json<T> = ColumnType<T, string, string>
type Timestamp = ColumnType<Date, Date | string, Date | string>
type Defaulted<T> = ColumnType<T, T | undefined, T>

/** One row per request: the truth about jobs. pg-boss only holds wake-ups that point here. */
export interface JobsTable {
  id: string
  kind: 'sync' | 'upload' | 'purge'
  state: 'queued' | 'uploading' | 'settling' | 'purging' | 'held' | 'succeeded' | 'failed' | 'cancelled'
  outcome: 'uploaded' | 'deleted' | 'unchanged' | 'purged' | 'merged' | 'ignored' | null
  merged_into: string | null
  bucket: string | null
  key: string | null
  version_id: string | null
  rule: string | null
  target: string | null
  cp_code: number | null
  path: string | null
  /** Names the path over all tables: `target/cpCode/path`; null for a purge of no object. */
  lane: string | null
  /** May not merge with others of its lane: it pins a version, a path or a CP code of its own. */
  solo: Defaulted<boolean>
  /** Whose events may be put in order by `hint`; null for what is no event. */
  hint_source: string | null
  /** When the change happened, as text that sorts; null where the source gives no order. */
  hint: string | null
  request: Json<JobRequest>
  source: Json<JobSource>
  labels: Defaulted<string[]>
  attempts: Defaulted<number>
  etag: string | null
  size_bytes: number | null
  sent_bytes: number | null
  md5: string | null
  purge: ColumnType<PurgePlan | null, string | null, string | null>
  purged: ColumnType<PurgeProgress | null, string | null | undefined, string | null>
  error: ColumnType<Problem | null, string | null, string | null>
  timeline: Json<TimelineEntry[]>
  /** The caller wants it no more; whoever runs it stops, if it can. */
  cancel_requested: Defaulted<boolean>
  /** When it was put back: how long it is tried counts from there. */
  retried_at: ColumnType<Date | null, Date | null | undefined, Date | null>
  next_attempt_at: ColumnType<Date | null, Date | null, Date | null>
  /** Counts the changes of all jobs: set by a trigger, so that whoever looks on finds what is new. */
  revision: Generated<number>
  created_at: Timestamp
  started_at: ColumnType<Date | null, Date | null, Date | null>
  uploaded_at: ColumnType<Date | null, Date | null, Date | null>
  purged_at: ColumnType<Date | null, Date | null, Date | null>
  finished_at: ColumnType<Date | null, Date | null, Date | null>
}

/** The ledger: what this service last put at a path, or that it removed it (a tombstone keeps the mtime). */
export interface ObjectsTable {
  lane: string
  target: string
  cp_code: number
  path: string
  bucket: string
  key: string
  present: boolean
  /** An upload has begun and may have arrived, though nobody saw it: what lies there may be ours, and other than `md5` says. */
  pending: Defaulted<boolean>
  etag: string | null
  version_id: string | null
  size_bytes: number | null
  md5: string | null
  /** Seconds since the epoch, as NetStorage keeps it; only ever grows at one path. */
  mtime: number
  committed_at: Timestamp
  job_id: string
}

/** One object that must still be purged on one network: paid only by an accepted purge. */
export interface DebtsTable {
  id: Generated<number>
  /** The path it is owed for; empty for a purge of no object. */
  lane: string
  edgegrid: string
  network: 'production' | 'staging'
  type: 'url' | 'cpcode' | 'tag'
  object: string
  action: 'invalidate' | 'delete'
  /** When it is to be sent; null = owed, but nobody asked for the purge yet. */
  due_at: ColumnType<Date | null, Date | null, Date | null>
  /** The first commit since the last payment. */
  first_at: Timestamp
  /** From when on a purge pays all of it: the last commit plus the settling delay. */
  settled_at: Timestamp
  /** A second purge, for edges that filled from a replica that lagged: nobody waits for it. */
  repeat: Defaulted<boolean>
  /** A second purge follows its payment. */
  wants_repeat: Defaulted<boolean>
  /** Counts the times it was incurred: a payment of an older count leaves it standing. */
  version: Defaulted<number>
  attempts: Defaulted<number>
  claimed_until: ColumnType<Date | null, Date | null, Date | null>
  /** Who goes first: see `priorities`. */
  priority: Defaulted<number>
  /** Objects with the same number were refused together and nobody knows which is at fault: they travel by themselves. */
  suspect: ColumnType<number | null, number | null | undefined, number | null>
  /** A whole CP code that only events want purged: held back when that was done too often lately. */
  limited: Defaulted<boolean>
  /** Delivery CP codes that may be invalidated in place of this URL when too many wait. */
  cp_codes: ColumnType<number[] | null, number[] | null | undefined, number[] | null>
}

/** Which job waits for which debt, and from when on a purge satisfies it. */
export interface WaitersTable {
  debt_id: number
  job_id: string
  settled_at: Timestamp
}

/** What was sent to Fast Purge and accepted. */
export interface PurgesTable {
  id: string
  edgegrid: string
  network: 'production' | 'staging'
  action: 'invalidate' | 'delete'
  type: 'url' | 'cpcode' | 'tag'
  objects: JSONColumnType<Array<string | number>>
  count: number
  purge_id: string
  support_id: string
  accepted_at: Timestamp
  job_ids: string[]
  /** Those of the CP codes that events alone wanted purged. */
  limited_codes: Defaulted<string[]>
}

/** Which request purged an object, by `hashtextextended` of its text: what a list by object goes by. */
export interface PurgeObjectsTable {
  object_hash: number
  request_id: string
}

/** The right to purge with one EdgeGrid credential: one planner at a time has it, as long as it renews it. */
export interface PurgeLanesTable {
  edgegrid: string
  holder: string
  held_until: Timestamp
  /** Requests in a row that nobody answered well. */
  failures: Defaulted<number>
  rest_until: ColumnType<Date | null, Date | null, Date | null>
}

/** A token bucket of one credential's account, as last known. */
export interface PurgeBucketsTable {
  edgegrid: string
  bucket: 'request' | 'url' | 'cpcode' | 'tag'
  size: number
  per_second: number
  own: number
  level: number
  foreign_per_second: number
  foreign_burst: number
  at: Timestamp
  seen_at: ColumnType<Date | null, Date | null, Date | null>
  held_until: ColumnType<Date | null, Date | null, Date | null>
}

/** An event that was received: a repeat of it leads to its job. */
export interface HintsTable {
  /** A digest of what makes two deliveries the same event. */
  identity: string
  job_id: string
  seen_at: Timestamp
}

/** When an event made this service delete something: the brake counts them. */
export interface DeletesTable {
  at: Timestamp
}

/** What is paused because its credentials are refused, until a probe succeeds. */
export interface PausesTable {
  name: string
  reason: string
  since: Timestamp
  next_probe_at: Timestamp
}

/** How fast one storage group may be asked to write or to read: shared by all replicas. Times in epoch milliseconds. */
export interface BudgetsTable {
  name: string
  per_second: number
  refused: number | null
  good: number | null
  cut_at: number
  probe_at: number
  used_at: number
  /** When the next request may leave. */
  next_at: number
}

/** Requests that may be repeated: the same key of the same caller stands for the same job for a day. */
export interface IdempotencyKeysTable {
  /** The token's name and the route. */
  scope: string
  key: string
  body_sha256: string
  job_id: string
  created_at: Timestamp
}

/** The labels of jobs once more, in the order in which lists need them; a trigger fills it. */
export interface JobLabelsTable {
  label: string
  job_id: string
}

export interface Tables {
  budgets: BudgetsTable
  job_labels: JobLabelsTable
  idempotency_keys: IdempotencyKeysTable
  jobs: JobsTable
  objects: ObjectsTable
  debts: DebtsTable
  waiters: WaitersTable
  purges: PurgesTable
  purge_objects: PurgeObjectsTable
  purge_lanes: PurgeLanesTable
  purge_buckets: PurgeBucketsTable
  pauses: PausesTable
  hints: HintsTable
  deletes: DeletesTable
}

/** A job as the database returns it. */
export type JobRow = Selectable<JobsTable>
/** A ledger entry as the database returns it. */
export type ObjectRow = Selectable<ObjectsTable>
/** A debt as the database returns it. */
export type DebtRow = Selectable<DebtsTable>
