import { sql } from 'kysely'
import type { Store } from '../../store/store.ts'
import { Cancelled } from '../acting/cancel.ts'
import type { Lease } from '../lanes/dispatcher.ts'

/** Leases that also end when their job is cancelled, on whichever replica its caller said so. */
export interface RevocableLeases {
  /** From the lease's `check` on the job goes on to its end: what it does may have taken effect. `forget` when its run is over. */
  cover: (jobId: string, lease: Lease) => Lease & { forget: () => void }
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
      // The next run of the same job may have begun here already.
      const forget = () => { if (covered.get(jobId) === ending) covered.delete(jobId) }
      return {
        signal: ending.signal,
        check () {
          ending.signal.throwIfAborted()
          lease.check()
          forget()
        },
        forget
      }
    },
    async revoke () {
      if (covered.size === 0) return
      const rows = await store.kysely.selectFrom('jobs').select('id').where('id', '=', sql<string>`any(${[...covered.keys()]}::uuid[])`).where('cancel_requested', '=', true).execute()
      for (const { id } of rows) covered.get(id)?.abort(new Cancelled('cancelled'))
    }
  }
}
