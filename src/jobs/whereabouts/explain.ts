import type { ListedJob } from '../job.ts'
import type { Place } from './find.ts'

/** Why an object is not live yet, in a word that programs know and in plain words. */
export interface Reason {
  code: 'paused' | 'queued' | 'retrying' | 'uploading' | 'settling' | 'purging' | 'held' | 'failed' | 'unseen' | 'purge_not_asked' | 'purge_due' | 'never_copied'
  detail: string
  /** The job to look at or act upon. */
  jobId?: string
}

/** What is to be said of one path. */
export interface Explanation { live: boolean, summary: string, reasons: Reason[] }

const at = (time: Date) => time.toISOString().replace(/\.\d+Z$/, 'Z')

/**
 * Says where an object is: live means that NetStorage holds what S3 held when it was last looked at, and that every
 * purge it owed was accepted. `pauses` are those in force, by name. Pure.
 */
export function explain (place: Place, pauses: ReadonlyMap<string, string>): Explanation {
  const { ledger, jobs, owed } = place
  const reasons = [...explainOpen(place, pauses), ...explainFailure(place)]
  if (ledger?.pending === true && reasons.length === 0) reasons.push({ code: 'unseen', detail: 'An upload began that nobody saw arrive: what lies there may be other than what is told here. Call /sync with "force": true.' })
  const asleep = owed.filter(debt => debt.due_at === null)
  if (asleep.length > 0) reasons.push({ code: 'purge_not_asked', detail: `${count(asleep.length, 'purge')} owed that nobody asked for yet, so the edge may still show what was there before: call /purge or /sync.` })
  const due = owed.filter(debt => debt.due_at !== null && !debt.repeat)
  if (due.length > 0 && !jobs.some(isOpen)) {
    const first = new Date(Math.min(...due.map(debt => Number(debt.due_at))))
    const paused = due.map(debt => pauses.get(`edgegrid:${debt.edgegrid}`)).find(each => each !== undefined)
    reasons.push(paused === undefined
      ? { code: 'purge_due', detail: `${count(due.length, 'purge')} due from ${at(first)} on.` }
      : { code: 'paused', detail: `${count(due.length, 'purge')} owed, and purging is paused: ${paused}` })
  }
  if (reasons.length === 0 && ledger === undefined) reasons.push({ code: 'never_copied', detail: 'Nothing was copied to this path.' })
  return { live: reasons.length === 0, summary: [describeCopy(place), ...reasons.map(each => each.detail)].join(' '), reasons }
}

const isOpen = (job: ListedJob) => job.finished_at === null
const count = (many: number, what: string) => many === 1 ? `One ${what} is` : `${many} ${what}s are`

/** What NetStorage holds, as far as this service saw it. */
function describeCopy ({ ledger, owed, purges }: Place): string {
  if (ledger === undefined || (ledger.pending && !ledger.present)) return 'This service has not yet seen it on NetStorage.'
  const purgedAt = purges.filter(each => each.accepted_at >= ledger.committed_at).map(each => Number(each.accepted_at))
  const purged = purgedAt.length === 0 ? '' : `, and the edge was told at ${at(new Date(Math.max(...purgedAt)))}`
  const repeat = owed.find(debt => debt.repeat && debt.due_at !== null)
  const second = repeat === undefined ? '' : ` A second purge, which nobody need wait for, follows at ${at(repeat.due_at as Date)}.`
  const copy = ledger.present
    ? `NetStorage holds it since ${at(ledger.committed_at)}: ${ledger.size_bytes} bytes, as S3 held them then (ETag ${ledger.etag})`
    : `It was gone from S3, and was deleted on NetStorage at ${at(ledger.committed_at)}`
  return `${copy}${purged}.${second}`
}

/** What is under way, in the order of arrival. */
function explainOpen ({ jobs }: Place, pauses: ReadonlyMap<string, string>): Reason[] {
  return jobs.filter(job => isOpen(job) && job.merged_into === null).toReversed().map(job => ({ ...explainJob(job, pauses), jobId: job.id }))
}

function explainJob (job: ListedJob, pauses: ReadonlyMap<string, string>): Reason {
  const last = job.error === null ? '' : ` The last attempt failed: ${job.error.detail}`
  switch (job.state) {
    case 'queued': {
      const paused = pauses.get(`s3:${job.bucket}`) ?? pauses.get(`netstorage:${job.target}`)
      if (paused !== undefined) return { code: 'paused', detail: `The copy waits, because ${pauses.has(`s3:${job.bucket}`) ? `reading from ${job.bucket}` : `the target ${job.target}`} is paused: ${paused}` }
      if (job.next_attempt_at !== null) return { code: 'retrying', detail: `The copy is tried again at ${at(job.next_attempt_at)}.${last}` }
      return { code: 'queued', detail: `The copy waits for its turn since ${at(job.retried_at ?? job.created_at)}.${last}` }
    }
    case 'uploading': return { code: 'uploading', detail: `It is being copied, attempt ${job.attempts}${job.sent_bytes === null ? '' : `, ${job.sent_bytes} bytes so far`}.${last}` }
    case 'settling': {
      // Only the brake on CP codes sets a time here.
      if (job.next_attempt_at !== null) return { code: 'purge_due', detail: `The copy is verified since ${at(job.uploaded_at ?? job.created_at)}; events purged its CP code as often as PURGE_CPCODE_LIMIT_PER_HOUR lets them, so its purge waits for the next at ${at(job.next_attempt_at)}. Call /purge to have it now.` }
      return { code: 'settling', detail: `The copy is verified since ${at(job.uploaded_at ?? job.created_at)}; the purge waits until it has settled on NetStorage.` }
    }
    case 'held': return { code: 'held', detail: `It is held until an operator releases or cancels it: ${job.error?.detail}` }
    default: {
      const paused = [...pauses].find(([name]) => name.startsWith('edgegrid:'))?.[1]
      return { code: 'purging', detail: `Fast Purge is being asked.${last}${paused === undefined ? '' : ` Purging is paused: ${paused}`}` }
    }
  }
}

/** A failure that came after all that was done well. */
function explainFailure ({ ledger, jobs }: Place): Reason[] {
  const last = jobs.find(job => job.finished_at !== null && job.merged_into === null && job.state !== 'cancelled')
  if (last?.state !== 'failed' || jobs.some(job => isOpen(job) && job.id > last.id)) return []
  if (ledger !== undefined && ledger.job_id !== last.id && ledger.committed_at > (last.finished_at as Date)) return []
  return [{ code: 'failed', detail: `The last ${last.kind} failed: ${last.error?.detail} Retry it when that is mended.`, jobId: last.id }]
}
