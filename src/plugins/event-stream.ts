import type { FastifyReply, FastifyRequest } from 'fastify'

const commentMs = 15_000
/** A reader that takes nothing for so long is cut off: it can come back and say where it stopped. */
const patienceMs = 60_000
/**
 * How much may wait for a slow reader. What is told to many is one for all of them, and who reads on from the database
 * gets more only when it has taken everything: this is hardly memory of its own.
 */
const roomBytes = 1024 * 1024
const comment = Buffer.from(':\n\n')

/** One response of server-sent events, which lasts until its reader goes or `end` is called. */
export class EventStream {
  readonly #raw: FastifyReply['raw']
  #wroteAt = performance.now()
  #behindSince: number | undefined
  isOpen = true
  onDrain: () => void = () => {}
  onClose: () => void = () => {}

  constructor (request: FastifyRequest, reply: FastifyReply, onClose: () => void) {
    const { raw } = reply.hijack()
    this.#raw = raw
    // Who went away meanwhile is told of by no event any more.
    if (raw.closed) {
      this.isOpen = false
      return
    }
    raw.on('drain', () => {
      this.#behindSince = undefined
      this.onDrain()
    })
    raw.once('close', () => {
      this.isOpen = false
      onClose()
      this.onClose()
    })
    raw.writeHead(200, { ...reply.getHeaders() as Record<string, string>, 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
    if (request.method === 'HEAD') this.end()
    else this.send(comment)
  }

  get isFull (): boolean {
    return this.#raw.writableLength >= roomBytes
  }

  get isBehind (): boolean {
    return this.#raw.writableNeedDrain
  }

  send (event: Buffer): void {
    if (!this.isOpen || this.#raw.writableEnded) return
    this.#wroteAt = performance.now()
    if (!this.#raw.write(event)) this.#behindSince ??= this.#wroteAt
  }

  end (): void {
    this.#raw.end()
  }

  /** Keeps the line alive, or cuts off who does not read. Called about once a second, never for all streams in one turn of the event loop. */
  tend (): void {
    const now = performance.now()
    if (this.#behindSince !== undefined && now - this.#behindSince > patienceMs) this.#raw.destroy()
    else if (this.#behindSince === undefined && now - this.#wroteAt > commentMs) this.send(comment)
  }
}
