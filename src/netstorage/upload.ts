import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ClientRequest } from 'node:http'
import { AppError } from '../errors.ts'

/** What is written, and what must hold before its last bytes leave. */
export interface UploadBody {
  body: AsyncIterable<Uint8Array>
  sizeBytes: number
  /** Hash while streaming; the MD5 is then known at the end only. */
  hash: boolean
  /** Called right before the last bytes or the trailer leave; what it throws keeps the upload from committing. */
  beforeCommit: () => void | Promise<void>
  onProgress: (sentBytes: number) => void
  /** The trailers, made from the MD5 when all bytes have passed; only where `hash` is set. */
  trailers: (md5: string) => Record<string, string>
}

/**
 * Streams a body with back-pressure. The last chunk waits until the source has ended and `beforeCommit` agreed, so that
 * NetStorage cannot have all bytes of an upload that must not commit. Returns the MD5 where it was hashed.
 */
export async function sendBody (request: ClientRequest, { body, sizeBytes, hash, beforeCommit, onProgress, trailers }: UploadBody): Promise<string | undefined> {
  const md5 = hash ? createHash('md5') : undefined
  let held: Uint8Array | undefined
  let taken = 0
  let sent = 0
  const write = async (chunk: Uint8Array): Promise<void> => {
    if (!request.write(chunk)) await drained(request)
    sent += chunk.length
    onProgress(sent)
  }
  for await (const chunk of body) {
    if (request.destroyed) return undefined
    if (chunk.length === 0) continue
    taken += chunk.length
    if (taken > sizeBytes) throw wrongSize(`more than ${sizeBytes}`, sizeBytes)
    md5?.update(chunk)
    if (held !== undefined) await write(held)
    held = chunk
  }
  if (taken < sizeBytes) throw wrongSize(String(taken), sizeBytes)
  await beforeCommit()
  if (request.destroyed) return undefined
  if (held !== undefined) await write(held)
  const digest = md5?.digest('hex')
  if (digest !== undefined) request.addTrailers(trailers(digest))
  request.end()
  return digest
}

/** A request that is destroyed never drains: waiting for either keeps the source from hanging for ever. */
async function drained (request: ClientRequest): Promise<void> {
  const abort = new AbortController()
  const settled = [once(request, 'drain', abort), once(request, 'close', abort)].map(async each => { await each.catch(() => {}) })
  await Promise.race(settled)
  abort.abort()
}

function wrongSize (got: string, sizeBytes: number): AppError {
  return new AppError('object_changed', `The source gave ${got} bytes where ${sizeBytes} were announced; nothing was stored, and it is tried again.`)
}
