import { createHash } from 'node:crypto'
import type { ClientRequest } from 'node:http'
import { AppError } from '../errors.ts'

/** What is written, and what must hold before its last bytes leave. */
export interface UploadBody {
  body: AsyncIterable<Uint8Array>
  sizeBytes: number
  /** Hash while streaming; the MD5 is then known at the end only. */
  hash: boolean
  /** Called right before the last bytes or the trailer leave; what it throws keeps the upload from committing. */
  beforeCommit: () => void
  onProgress: (sentBytes: number) => void
  /** Called with each chunk that has left and will not be looked at again. */
  release: (chunk: Uint8Array) => void
  /** The trailers, made from the MD5 when all bytes have passed; only where `hash` is set. */
  trailers: (md5: string) => Record<string, string>
}

/** No more than this is held back for the end: little enough to leave at once. */
const lastBytes = 16 * 1024

/**
 * Streams a body with back-pressure. Its last bytes wait until the source has ended, all before them have left this
 * process, and `beforeCommit` agreed: NetStorage cannot have all bytes of an upload that must not commit, whatever
 * waits in a buffer on the way. Returns the MD5 where it was hashed.
 */
export async function sendBody (request: ClientRequest, { body, sizeBytes, hash, beforeCommit, onProgress, trailers, release }: UploadBody): Promise<string | undefined> {
  const md5 = hash ? createHash('md5') : undefined
  const closed = new Promise<void>(resolve => { request.once('close', resolve) })
  let left = Promise.resolve()
  let held: Uint8Array | undefined
  let taken = 0
  let sent = 0
  const write = async (chunk: Uint8Array, onLeft: () => void): Promise<void> => {
    const { length } = chunk
    let room = true
    left = new Promise<void>(resolve => { room = request.write(chunk, () => { onLeft(); resolve() }) })
    if (!room) await drained(request)
    sent += length
    onProgress(sent)
  }
  for await (const chunk of body) {
    if (request.destroyed) return undefined
    if (chunk.length === 0) continue
    taken += chunk.length
    if (taken > sizeBytes) throw wrongSize(`more than ${sizeBytes}`, sizeBytes)
    md5?.update(chunk)
    const next = held
    held = chunk
    if (next !== undefined) await write(next, () => { release(next) })
  }
  if (taken < sizeBytes) throw wrongSize(String(taken), sizeBytes)
  const last = held?.subarray(-lastBytes) ?? new Uint8Array()
  if (held !== undefined && last.length < held.length) await write(held.subarray(0, -lastBytes), () => {})
  const digest = md5?.digest('hex')
  await Promise.race([left, closed])
  beforeCommit()
  if (request.destroyed) return undefined
  if (digest !== undefined) request.addTrailers(trailers(digest))
  request.end(last, () => { if (held !== undefined) release(held) })
  onProgress(taken)
  return digest
}

/** A request that is destroyed never drains: waiting for either keeps the source from hanging for ever. */
async function drained (request: ClientRequest): Promise<void> {
  await new Promise<void>(resolve => {
    const done = (): void => {
      request.off('drain', done).off('close', done)
      resolve()
    }
    request.on('drain', done).on('close', done)
  })
}

function wrongSize (got: string, sizeBytes: number): AppError {
  return new AppError('object_changed', `The source gave ${got} bytes where ${sizeBytes} were announced; nothing was stored, and it is tried again.`)
}
