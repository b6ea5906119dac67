import { AppError } from '../../errors.ts'
import type { JobRow } from '../../store/tables.ts'
import type { Feed } from './feed.ts'
import { createFormat, progressMs, type Listener } from './listener.ts'

export interface FollowJobOptions {
  feed: Feed
  show: (row: JobRow) => object
}

/**
 * Follows one job, found anew by `find`, which finds none that the caller may not see. Resolves to false, and opens
 * nothing, where all was seen and no more can come. Throws `job_not_found`.
 */
export type FollowJob = (id: string, find: (id: string) => Promise<JobRow | undefined>, after: number | undefined, open: () => Listener) => Promise<boolean>

/**
 * Tells a listener of one job: its present state first, unless `after` says that this was seen, then each change, and
 * the end with the job's own. A slow listener gets the newest state and misses those between.
 */
export function createFollowJob ({ feed, show }: FollowJobOptions): FollowJob {
  const format = createFormat(show)

  return async function followJob (id, find, after, open) {
    let listener: Listener | undefined
    let seen = 0
    let newest: JobRow | undefined
    let told: { state: string, at: number } | undefined
    let timer: NodeJS.Timeout | undefined
    function tell (): void {
      clearTimeout(timer)
      if (newest === undefined || listener === undefined || listener.isBehind) return
      const isProgress = newest.state === told?.state
      const tooSoonMs = isProgress && told !== undefined ? told.at + progressMs - performance.now() : 0
      if (tooSoonMs > 0) {
        timer = setTimeout(tell, tooSoonMs)
        return
      }
      const row = newest
      newest = undefined
      told = { state: row.state, at: performance.now() }
      listener.send(format(row, isProgress ? 'progress' : row.state))
      if (row.finished_at !== null) listener.end()
    }
    function take (row: JobRow): void {
      if (row.revision <= seen) return
      seen = row.revision
      newest = row
      tell()
    }

    const leave = await feed.watch(id, take)
    try {
      const row = await find(id)
      if (row === undefined) throw new AppError('job_not_found', `There is no job ${id}; finished jobs are kept for a while only.`)
      take(row)
      if (after === seen) {
        if (row.finished_at !== null) {
          leave()
          return false
        }
        newest = undefined
      }
      listener = open()
    } catch (error) {
      leave()
      throw error
    }
    listener.onDrain = tell
    listener.onClose = () => {
      leave()
      clearTimeout(timer)
    }
    if (!listener.isOpen) listener.onClose()
    tell()
    return true
  }
}
