import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../errors.ts'

/** How often a body is taken up again without a single byte in between, and how long to wait before each, in ms. */
const pausesMs = [0, 250, 1000]

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
  let chunks = iterate(stream)
  let offset = 0
  let failures = 0

  /** The next chunk, or null at the end, over as many streams as it takes. */
  async function readNext (): Promise<Buffer | null> {
    for (;;) {
      try {
        const chunk = await readChunk()
        if (chunk === null && offset === sizeBytes) return null
        if (chunk === null) throw new Error(`the body ended after ${offset} of ${sizeBytes} bytes`)
        offset += chunk.length
        failures = 0
        if (offset > sizeBytes) throw new AppError('object_changed', `S3 sent more than the ${sizeBytes} bytes it announced: the object must have changed.`)
        return chunk
      } catch (error) {
        await recover(error)
      }
    }
  }

  async function readChunk (): Promise<Buffer | null> {
    const current = stream
    const deadline = setTimeout(() => current.destroy(silence(offset, sizeBytes, stallTimeoutMs)), stallTimeoutMs)
    try {
      const { done, value } = await chunks.next()
      return done === true ? null : value
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Opens the rest, or throws what cannot be mended. All bytes being here, a broken end is none. */
  async function recover (error: unknown): Promise<void> {
    let failure = toError(error)
    stream.destroy()
    if (offset === sizeBytes) {
      chunks = iterate(Readable.from([]))
      return
    }
    while (failure.retryable && failure.code !== 'object_changed' && failures < pausesMs.length) {
      await sleep(pausesMs[failures++], undefined, { signal: closing.signal })
      try {
        stream = await reopen(offset, closing.signal)
        chunks = iterate(stream)
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
  const body = new Readable({
    read () {
      readNext().then((chunk) => this.push(chunk), (error) => this.destroy(error))
    },
    destroy (error, done) {
      signal?.removeEventListener('abort', abort)
      closing.abort()
      stream.destroy()
      done(error)
    }
  })
  // An error of a stream nobody reads at the moment shows at its next read.
  signal?.addEventListener('abort', abort)
  if (signal?.aborted === true) abort()
  return body
}

function iterate (stream: Readable): AsyncIterator<Buffer, undefined> {
  return stream.on('error', () => {})[Symbol.asyncIterator]()
}

function silence (offset: number, sizeBytes: number, stallTimeoutMs: number): AppError {
  return new AppError('s3_silent', `S3 sent nothing for ${stallTimeoutMs / 1000} s after ${offset} of ${sizeBytes} bytes.`)
}
