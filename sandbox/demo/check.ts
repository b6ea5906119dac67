import type { SandboxProcess } from '../process.ts'
import { cpCode } from '../sandbox.ts'
import type { Job } from './account.ts'

/**
 * What is wrong with one object by the emulators' own records, not by ours; undefined = NetStorage holds exactly those
 * bytes (or nothing, where `sha256` is undefined), and every URL was purged after the last write was verified.
 */
export async function check (sandbox: SandboxProcess, key: string, sha256: string | undefined, job: Job): Promise<string | undefined> {
  if (job.state !== 'succeeded') return `the job is ${job.state}: ${job.error?.detail ?? ''}`
  const name = `/${cpCode}/${key}`
  const stored = await sandbox.call('object', name)
  if (stored?.sha256 !== sha256) return `NetStorage holds SHA-256 ${stored?.sha256 ?? 'of nothing'} instead of ${sha256 ?? 'nothing'}`
  const log = (await sandbox.call('uploads')).filter(entry => entry.name === name && entry.status === 200)
  const write = log.findLast(entry => entry.action === (sha256 === undefined ? 'delete' : 'upload'))
  const seen = sha256 === undefined ? write : log.findLast(entry => entry.action === 'stat')
  if (write === undefined || seen === undefined) return 'NetStorage was never asked'
  if (seen !== write && seen.startedAt < write.finishedAt) return 'no stat came after the upload'
  if (job.purge === undefined) return 'nothing was purged'
  const purges = await sandbox.call('purges')
  for (const url of job.purge.objects) {
    const purge = purges.findLast(entry => entry.objects?.includes(url))
    if (purge === undefined || purge.at < seen.finishedAt) return `no purge of ${url} came after NetStorage was seen to have it`
    if (sha256 === undefined && purge.action !== 'delete') return `${url} was purged by ${purge.action ?? 'nothing'}, not by delete`
  }
  return undefined
}
