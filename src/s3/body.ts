import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../errors.ts'

/** How often a body is taken up again without a single byte in between, and how long to wait before each, in ms. */
const pausesMs = [0, 250, 1000]
/** How far a body reads ahead of who reads it: enough to keep both wires busy, and all that it costs in memory. */
const aheadBytes = 512 * 1024
/** Into how many looks a silence is cut; it is noticed at most one look late. */
const looks = 4

/** Why what belongs to a body ends with it. A new one for each would cost as much as a signature. */
const closed = new Error('the body was closed')

export interface ResumingBodyOptions {
  /** The stream of the first answer. */
  stream: Readable
  sizeBytes: number
  /** The bytes from `offset` to the end, of the same object; throws an AppError, `object_changed` if it is another now. */
  reopen: (offset: number, signal: AbortSignal) => Promise<Readable>
  /** Silence that ends a stream, while somebody waits for bytes; back-pressure is no silence. */
  stallTimeoutMs: number
  /** The error that a broken stream stands for. */
  toError: (error: unknown) => AppError
  signal?: AbortSignal
}

/**
 * A body that survives broken connections: it goes on at the byte where the last one ended, up to three times in a row
 * without progress. It ends only with exactly `sizeBytes` bytes. Destroying it, or the signal, destroys the socket.
 */
export function createResumingBody (options: ResumingBodyOptions): Readable {
  const { sizeBytes, reopen, stallTimeoutMs, toError, signal } = options
  const closing = new AbortController()
  let stream = options.stream
  let offset = 0
  let failures = 0
  /** Bytes that were read ahead since the reader had taken all there was. */
  let ahead = 0

  const body = new Readable({
    // Chunk by chunk: as a stream of bytes it would copy all that waits into one for its reader, and keep both.
    objectMode: true,
    highWaterMark: 1,
    read () {
      ahead = 0
      stream.resume()
    },
    destroy (error, done) {
      signal?.removeEventListener('abort', abort)
      closing.abort(closed)
      stream.destroy()
      done(error)
    }
  })

  /** Passes a stream on until it ends or breaks, or nobody wants it any more. */
  function follow (): void {
    const current = stream
    if (body.destroyed) {
      current.destroy()
      return
    }
    let seen = -1
    let quiet = 0
    const watch = setInterval(() => {
      quiet = offset === seen && !current.isPaused() ? quiet + 1 : 0
      seen = offset
      if (quiet >= looks) current.destroy(silence(offset, sizeBytes, stallTimeoutMs))
    }, stallTimeoutMs / looks)
    let failure: unknown
    current.on('error', error => { failure = error })
    current.on('data', (chunk: Buffer) => {
      offset += chunk.length
      failures = 0
      if (offset > sizeBytes) body.destroy(new AppError('object_changed', `S3 sent more than the ${sizeBytes} bytes it announced: the object must have changed.`))
      else body.push(chunk)
      ahead += chunk.length
      if (ahead >= aheadBytes) current.pause()
    })
    current.on('close', () => {
      clearInterval(watch)
      if (body.destroyed) return
      // All bytes being here, a broken end is none.
      if (offset === sizeBytes) body.push(null)
      else recover(failure ?? new Error(`the body ended after ${offset} of ${sizeBytes} bytes`)).then(follow, error => { body.destroy(error) })
    })
  }

  /** Opens the rest, or throws what cannot be mended. */
  async function recover (error: unknown): Promise<void> {
    let failure = toError(error)
    while (failure.retryable && failure.code !== 'object_changed' && failures < pausesMs.length) {
      await sleep(pausesMs[failures++], undefined, { signal: closing.signal })
      try {
        stream = await reopen(offset, closing.signal)
        return
      } catch (error) {
        closing.signal.throwIfAborted()
        failure = toError(error)
      }
    }
    if (failures < pausesMs.length) throw failure
    throw new AppError(failure.code, `${failure.message} The body had broken after ${offset} of ${sizeBytes} bytes, and ${failures} attempts to resume it brought no more.`, failure)
  }

  const abort = () => body.destroy(signal?.reason)
  // An error that comes while nobody reads shows at the next read.
  body.on('error', () => {})
  signal?.addEventListener('abort', abort)
  if (signal?.aborted === true) abort()
  follow()
  return body
}

/**
 * Gives the memory of a chunk back at once, where nobody else has a part in it: what is large and short-lived would
 * otherwise wait for the garbage collector, and call it often. The chunk is empty from then on.
 */
export function releaseChunk ({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}

function silence (offset: number, sizeBytes: number, stallTimeoutMs: number): AppError {
  return new AppError('s3_silent', `S3 sent nothing for ${stallTimeoutMs / 1000} s after ${offset} of ${sizeBytes} bytes.`)
}
