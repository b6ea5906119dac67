import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../errors.ts'
import type { NetStorageClient } from '../../netstorage/client.ts'

/** When `stat` is asked after an upload: at once, then after 1, 2, 4 and every 8 seconds. */
const delaysMs = [0, 1000, 2000, 4000, 8000]
/** Answers that say nothing of the object: to upload again because of them would be rash. */
const passing = new Set(['netstorage_unavailable', 'netstorage_silent'])

export interface Expected {
  netstorage: NetStorageClient
  cpCode: number
  path: string
  sizeBytes: number
  md5: string
  timeoutMs: number
  signal: AbortSignal
}

/** Polls `stat` until it shows the size and MD5 that were sent: it may lag, or not be answered at all for a while. */
export async function verify ({ netstorage, cpCode, path, sizeBytes, md5, timeoutMs, signal }: Expected): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (let attempt = 1; ; attempt++) {
    let failure: AppError
    try {
      const seen = await netstorage.stat({ cpCode, path, signal })
      if (seen?.type === 'file' && seen.sizeBytes === sizeBytes && seen.md5 === md5) return
      const shows = seen === undefined ? 'nothing' : `${seen.sizeBytes} bytes with MD5 ${seen.md5}`
      failure = new AppError('verification_failed', `NetStorage acknowledged ${path}, but stat shows ${shows} instead of ${sizeBytes} bytes with MD5 ${md5}. Nothing is purged; the upload is tried again.`)
    } catch (error) {
      if (!(error instanceof AppError) || !passing.has(error.code)) throw error
      failure = error
    }
    const waitMs = delaysMs[Math.min(attempt, delaysMs.length - 1)] as number
    if (performance.now() + waitMs > deadline) throw failure
    await sleep(waitMs, undefined, { signal }).catch(() => { signal.throwIfAborted() })
  }
}
