import { randomInt, randomUUID } from 'node:crypto'
import type { Problem } from '../errors.ts'
import type { Job } from '../schemas.ts'
import type { JobRequest, JobRow, JobSource, PurgePlan, TimelineEntry } from '../store/tables.ts'

/** A job before it is stored. */
export interface NewJob {
  /** Given where it must be known before; else a new one. */
  id?: string
  kind: JobRow['kind']
  bucket?: string
  key?: string
  versionId?: string
  rule?: string
  target?: string
  cpCode?: number
  path?: string
  solo?: boolean
  request: JobRequest
  source: JobSource
  /** What an event says of when its change happened. */
  hint?: { source: string, order: string | null }
  /** Cannot be done at all: it is stored as failed, so that it is listed. */
  problem?: Problem
  labels?: string[]
  /** A purge of its own, for jobs of kind `purge`. */
  purge?: { plan: PurgePlan, edgegrid: string, cpCodes?: readonly number[] }
}

let last = { ms: 0, sequence: 0 }

/** A UUIDv7 (RFC 9562 §5.7): milliseconds, then a counter so that ids of one process never run backwards, then chance. */
export function newJobId (nowMs: number): string {
  last = nowMs > last.ms ? { ms: nowMs, sequence: randomInt(0x400) } : { ms: last.ms, sequence: last.sequence + 1 }
  if (last.sequence > 0xfff) last = { ms: last.ms + 1, sequence: 0 }
  const time = last.ms.toString(16).padStart(12, '0')
  // The second half of a random UUID is what the second half of one in the order of time must be.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${last.sequence.toString(16).padStart(3, '0')}${randomUUID().slice(18)}`
}

/** How far the time in an id may be from the time in its row: clocks of replicas differ, and are corrected. */
export const slackMs = 60_000

/** The smallest UUIDv7 of a moment. */
export function idAt (ms: number): string {
  return Math.max(0, ms).toString(16).padStart(12, '0').replace(/^(.{8})(.{4})$/, '$1-$2-7000-8000-000000000000')
}

/** Names a target path over all tables. */
export function laneOf (target: string, cpCode: number, path: string): string {
  return `${target}/${cpCode}/${path}`
}

/** One step of a timeline. */
export function stepOf (now: Date, name: string, detail: string): TimelineEntry[] {
  return [{ at: now.toISOString(), step: name, detail }]
}

/** One step of a timeline, as JSON to append. */
export function step (now: Date, name: string, detail: string): string {
  return JSON.stringify(stepOf(now, name, detail))
}

/** A job as lists read it: without what they do not show, which is most of it. */
export type ListedJob = Omit<JobRow, 'timeline' | 'request' | 'hint' | 'hint_source' | 'solo' | 'cancel_requested' | 'revision'>

/** The columns of a listed job. */
export const listedColumns = [
  'id', 'kind', 'state', 'outcome', 'merged_into', 'bucket', 'key', 'version_id', 'rule', 'target', 'cp_code', 'path', 'lane', 'source', 'labels', 'attempts', 'etag', 'size_bytes',
  'sent_bytes', 'md5', 'purge', 'purged', 'error', 'retried_at', 'next_attempt_at', 'created_at', 'started_at', 'uploaded_at', 'purged_at', 'finished_at'
] as const satisfies Array<keyof ListedJob>

type JobTime = 'retried_at' | 'next_attempt_at' | 'created_at' | 'started_at' | 'uploaded_at' | 'purged_at' | 'finished_at'
/** A listed job as the database writes it in JSON. */
export type WrittenJob = Omit<ListedJob, JobTime> & Record<JobTime, string | null>

const readTime = (text: string | null): Date | null => text === null ? null : new Date(text)

/** A listed job as it was before it was written in JSON. */
export function reviveJob (job: WrittenJob): ListedJob {
  return {
    ...job,
    retried_at: readTime(job.retried_at),
    next_attempt_at: readTime(job.next_attempt_at),
    created_at: readTime(job.created_at) as Date,
    started_at: readTime(job.started_at),
    uploaded_at: readTime(job.uploaded_at),
    purged_at: readTime(job.purged_at),
    finished_at: readTime(job.finished_at)
  }
}

/** The job as callers see it; `timeline` only where one job is shown. */
export function toJob (row: ListedJob, selfUrl: string, timeline?: TimelineEntry[]): Job {
  const given = {
    outcome: row.outcome,
    mergedInto: row.merged_into,
    bucket: row.bucket,
    key: row.key,
    versionId: row.version_id,
    rule: row.rule,
    target: row.target,
    cpCode: row.cp_code,
    path: row.path,
    etag: row.etag,
    sizeBytes: row.size_bytes,
    sentBytes: row.sent_bytes,
    md5: row.md5,
    purge: row.purge === null ? null : { ...row.purge, requests: [], ...row.purged },
    error: row.error,
    nextAttemptAt: row.next_attempt_at?.toISOString(),
    startedAt: row.started_at?.toISOString(),
    uploadedAt: row.uploaded_at?.toISOString(),
    purgedAt: row.purged_at?.toISOString(),
    finishedAt: row.finished_at?.toISOString(),
    timeline
  }
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== undefined))
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    source: row.source,
    labels: row.labels,
    attempts: row.attempts,
    links: { self: selfUrl },
    createdAt: row.created_at.toISOString(),
    ...present as Partial<Job>
  }
}
