import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../errors.ts'
import type { Store } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'
import type { ListedJob } from '../job.ts'
import { selectJobs, type JobFilter } from '../list.ts'
import { cancelJob } from './cancel.ts'
import { releaseJobs } from './release.ts'
import { retryJobs } from './retry.ts'
import { lockJob, wrongState } from './select.ts'

const batchSize = 500
/** How long a caller waits to hear whether a running upload could be stopped. */
const cancelWaitMs = 5000

/** What operators do to jobs. Each throws `job_not_found`, or `wrong_state` where the state does not allow it. */
export interface Acts {
  /** Again, under the same id. */
  retry: (id: string) => Promise<void>
  /** Not at all. Resolves when a running upload was stopped, or is seen to go on, or after a few seconds. */
  cancel: (id: string) => Promise<void>
  /** On, although it was held. */
  release: (id: string) => Promise<void>
  /** All failed (or cancelled, or held) jobs that match; `dryRun` only counts them. Returns how many. */
  retryAll: (filter: Omit<JobFilter, 'limit' | 'after'>, dryRun: boolean) => Promise<number>
}

export interface ActsOptions {
  store: Store
  now: () => Date
  /** Called when there is something to do again. */
  onQueued: () => void
}

export function createActs ({ store, now, onQueued }: ActsOptions): Acts {
  const stateOf = async (id: string) => (await store.kysely.selectFrom('jobs').select('state').where('id', '=', id).executeTakeFirst())?.state

  return {
    async retry (id) {
      await store.withTx(async tx => {
        const job = await lockJob(tx, id)
        if (job.state !== 'failed' && job.state !== 'cancelled') throw wrongState(job, 'only what failed or was cancelled can be retried')
        if (await retryJobs(store.boss, tx, [id], now(), 'retried by an operator') === 0) throw wrongState(job, `nothing can be done about it: ${job.error?.detail ?? 'it has no path'}`)
      })
      onQueued()
    },
    async cancel (id) {
      let state: JobRow['state'] | undefined = await store.withTx(async tx => await cancelJob(store, tx, id, now()))
      for (const until = performance.now() + cancelWaitMs; state === 'uploading' && performance.now() < until; state = await stateOf(id)) await sleep(100)
      onQueued()
      if (state !== 'cancelled' && state !== 'uploading') throw new AppError('wrong_state', `The job ${id} is ${state}: it was too late to stop its upload.`)
    },
    async release (id) {
      await store.withTx(async tx => {
        const job = await lockJob(tx, id)
        if (await releaseJobs(store.boss, tx, [id], now()) === 0) throw wrongState(job, 'only what is held can be released')
      })
      onQueued()
    },
    async retryAll ({ states = ['failed'], ...filter }, dryRun) {
      let count = 0
      for (let after: string | undefined; ;) {
        const page: ListedJob[] = await selectJobs(store.kysely, { ...filter, states, limit: batchSize, ...(after === undefined ? {} : { after }) }).execute()
        const ids = page.filter(job => dryRun ? job.lane !== null || job.purge !== null : true).map(job => job.id)
        count += dryRun
          ? ids.length
          : await store.withTx(async tx => await retryJobs(store.boss, tx, ids, now(), 'retried by an operator') + await releaseJobs(store.boss, tx, ids, now()))
        if (page.length < batchSize) break
        after = page.at(-1)?.id
      }
      onQueued()
      return count
    }
  }
}
