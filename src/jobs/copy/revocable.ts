import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import { Cancelled } from '../acting/cancel.ts'
import type { Lease } from '../lanes/dispatcher.ts'

/** Leases that also end when their job is cancelled, on whichever replica its caller said so. */
export interface RevocableLeases {
  /** From the lease's `check` on the job goes on to its end: what it does may have taken effect. */
  cover: (jobId: string, lease: Lease) => Lease
  /** The job's run is over. */
  forget: (jobId: string) => void
  /** Looks which jobs were cancelled since. */
  revoke: () => Promise<void>
}

export function createRevocableLeases (store: Store): RevocableLeases {
  const covered = new Map<string, AbortController>()
  return {
    cover (jobId, lease) {
      const ending = new AbortController()
      const end = () => { ending.abort(lease.signal.reason) }
      lease.signal.addEventListener('abort', end)
      if (lease.signal.aborted) end()
      covered.set(jobId, ending)
      return {
        signal: ending.signal,
        check () {
          ending.signal.throwIfAborted()
          lease.check()
          covered.delete(jobId)
        }
      }
    },
    forget (jobId) { covered.delete(jobId) },
    async revoke () {
      if (covered.size === 0) return
      const rows = await store.kysely.selectFrom('jobs').select('id').where('id', '=', sql<string>`any(${[...covered.keys()]}::uuid[])`).where('cancel_requested', '=', true).execute()
      for (const { id } of rows) covered.get(id)?.abort(new Cancelled('cancelled'))
    }
  }
}
