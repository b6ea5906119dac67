import { Held, type Committed, type Copy } from './copy-object.ts'

/**
 * Deletes what is gone from S3. Only what the ledger says this very object put there is deleted, and by events no more
 * of it than the brake allows; an operator who released the job has decided otherwise.
 */
export async function removeObject ({ work, rule, netstorage, ledger, lease, takeDelete }: Copy): Promise<Committed> {
  const { bucket, key, cp_code: cpCode, path } = work.doer as typeof work.doer & { cp_code: number, path: string }
  const { signal } = lease
  if (work.deleteByEvents && rule.deletes === 'ignore') return { outcome: 'ignored', present: ledger?.present ?? false, detail: `gone from S3, and rule ${rule.name} ignores deletes` }
  const mtime = ledger === undefined ? {} : { mtime: ledger.mtime }
  const maybeOurs = ledger !== undefined && (ledger.present || ledger.pending)
  if (!maybeOurs || ledger.bucket !== bucket || ledger.key !== key) {
    const seen = await netstorage.stat({ cpCode, path, signal })
    if (seen === undefined) return { outcome: 'unchanged', present: false, detail: 'gone from S3, and NetStorage holds nothing there', ...mtime }
    const owner = maybeOurs ? `is the copy of ${ledger.bucket}/${ledger.key}` : 'was not put there by this service'
    if (!work.released) throw new Held('target_not_ours', `S3 holds no ${key}, but ${path} on NetStorage ${owner}: nothing is deleted until the job is released.`)
  } else if (work.deleteByEvents && !await takeDelete()) {
    throw new Held('delete_limit', `S3 holds no ${key}, but events have caused as many deletes within a minute as DELETE_LIMIT_PER_MINUTE allows: nothing is deleted until the job is released.`)
  }
  // Its turn may take its time, and a worker that was frozen meanwhile must not delete what others have put there since.
  const found = await netstorage.delete({ cpCode, path, signal, beforeSend: () => { lease.check() } })
  if (found === 'absent' && ledger?.present !== true) return { outcome: 'unchanged', present: false, detail: 'gone from S3, and NetStorage holds nothing there', ...mtime }
  return { outcome: 'deleted', present: false, ...mtime }
}
