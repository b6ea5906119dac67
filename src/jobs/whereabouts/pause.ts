import { AppError, toProblem } from '../../errors.ts'
import type { ListedJob } from '../job.ts'

/**
 * A job that waits for a paused account, with why: it has not failed itself, but whoever looks at it should not have to
 * look elsewhere. `pauses` are the reasons in force, by name.
 */
export function withPause<Row extends ListedJob> (row: Row, pauses: ReadonlyMap<string, string>): Row {
  if (pauses.size === 0 || row.state !== 'queued' || row.error !== null) return row
  const reading = pauses.get(`s3:${row.bucket}`)
  const reason = reading ?? pauses.get(`netstorage:${row.target}`)
  return reason === undefined ? row : { ...row, error: toProblem(new AppError(reading === undefined ? 'netstorage_forbidden' : 's3_forbidden', reason)) }
}
