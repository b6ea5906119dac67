import type { Static } from 'typebox'
import { findMiss, findRule, mapObject, type Rule } from '../../mapping.ts'
import type { Job, ObjectSchema } from '../../schemas.ts'
import type { ListedJob } from '../job.ts'
import { explain } from './explain.ts'
import type { Place } from './find.ts'

/** One target path of an object, as callers see it. */
export type DescribedPlace = Static<typeof ObjectSchema>

/** The answer to "where is my file?". */
export interface Whereabouts { summary: string, items: DescribedPlace[], jobs: Job[] }

/** A path as callers see it: what is known, and what it means. */
export function describePlace (place: Place, pauses: ReadonlyMap<string, string>): DescribedPlace {
  const { ledger, jobs, owed, purges } = place
  const known = ledger ?? jobs[0] as ListedJob
  const copied = ledger === undefined || (ledger.pending && !ledger.present) ? undefined : ledger
  return {
    bucket: known.bucket as string,
    key: known.key as string,
    target: known.target as string,
    cpCode: known.cp_code as number,
    path: known.path as string,
    ...explain(place, pauses),
    present: copied?.present ?? false,
    ...given('etag', copied?.etag),
    ...given('versionId', copied?.version_id),
    ...given('sizeBytes', copied?.size_bytes),
    ...given('md5', copied?.md5),
    ...given('mtime', copied && new Date(copied.mtime * 1000).toISOString()),
    ...given('committedAt', copied?.committed_at.toISOString()),
    ...given('jobId', copied?.job_id),
    purges: purges.map(({ object, type, network, action, purge_id: purgeId, support_id: supportId, accepted_at: acceptedAt }) => ({ object, type, network, action, purgeId, supportId, acceptedAt: acceptedAt.toISOString() })),
    owed: owed.map(({ object, type, network, action, repeat, due_at: dueAt }) => ({ object, type, network, action, ...given('dueAt', dueAt?.toISOString()), repeat }))
  }
}

const given = <Name extends string, Value>(name: Name, value: Value | null | undefined) =>
  (value === undefined || value === null ? {} : { [name]: value }) as Partial<Record<Name, Value>>

/** Why nothing is known of an object: no rule takes it, it cannot be mapped, or nobody ever asked. */
export function describeUnknown (rules: readonly Rule[], bucket: string, key: string, last: ListedJob | undefined): string {
  if (last?.error !== undefined && last.error !== null) return `It was never copied: ${last.error.detail}`
  const rule = findRule(rules, bucket, key)
  if (rule === undefined) return `It was never copied: no rule takes it. ${rules.map(each => `${each.name}: ${describeMiss(each, bucket, key)}`).join('; ')}.`
  try {
    const { cpCode, path } = mapObject(rule, key)
    return `It was never copied: no event told of it, and nobody asked. The rule ${rule.name} would put it at ${cpCode}/${path}: call /sync.`
  } catch (error) {
    return `It was never copied: ${(error as Error).message}`
  }
}

function describeMiss (rule: Rule, bucket: string, key: string): string {
  const miss = findMiss(rule, bucket, key)
  switch (miss?.why) {
    case 'bucket': return `is for the bucket ${rule.bucket}`
    case 'prefix': return `is for keys that begin with ${rule.prefix}`
    case 'include': return `takes only ${rule.include.join(', ')}`
    default: return `leaves out ${miss?.glob}`
  }
}
