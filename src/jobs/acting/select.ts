import { AppError } from '../../errors.ts'
import type { Tx } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'

/** The job to act upon, locked until the transaction ends. Throws `job_not_found`. */
export async function lockJob (tx: Tx, id: string): Promise<JobRow> {
  const row = await tx.kysely.selectFrom('jobs').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
  if (row === undefined) throw new AppError('job_not_found', `There is no job ${id}; finished jobs are kept for a while only.`)
  return row
}

/** The refusal of an act that the state of the job does not allow. */
export function wrongState ({ id, state }: JobRow, why: string): AppError {
  return new AppError('wrong_state', `The job ${id} is ${state}: ${why}.`)
}
