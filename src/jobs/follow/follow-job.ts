import { AppError } from '../../errors.ts'
import type { JobRow } from '../../store/tables.ts'
import type { Feed } from './feed.ts'
import { formatEvent, progressMs, type Listener } from './listener.ts'

export interface FollowJobOptions {
  feed: Feed
  /** The job as it is now; undefined if there is none, or none for this caller. */
  find: (id: string) => Promise<JobRow | undefined>
  show: (row: JobRow) => object
}

/**
 * Tells a listener of one job: its present state first, unless `after` says that this was seen, then each change, and
 * the end with the job's own. A slow listener gets the newest state and misses those between. Resolves to false, and
 * opens nothing, where all was seen and no more can come. Throws `job_not_found`.
 */
export async function followJob ({ feed, find, show }: FollowJobOptions, id: string, after: number | undefined, open: () => Listener): Promise<boolean> {
  const read = async (): Promise<JobRow> => {
    const row = await find(id)
    if (row === undefined) throw new AppError('job_not_found', `There is no job ${id}; finished jobs are kept for a while only.`)
    return row
  }
  const { revision, finished_at: finishedAt } = await read()
  let seen = after !== undefined && after <= revision ? after : 0
  if (finishedAt !== null && seen === revision) return false

  const to: { listener?: Listener } = {}
  let newest: JobRow | undefined
  let told: { state: string, at: number } | undefined
  let timer: NodeJS.Timeout | undefined
  function tell (): void {
    clearTimeout(timer)
    const { listener } = to
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
    listener.send(formatEvent(row.revision, isProgress ? 'progress' : row.state, show(row)))
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
    take(await read())
  } catch (error) {
    leave()
    throw error
  }
  to.listener = open()
  to.listener.onDrain = tell
  to.listener.onClose = () => {
    leave()
    clearTimeout(timer)
  }
  tell()
  return true
}
