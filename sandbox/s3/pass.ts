import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { FaultRule } from '../kit/faults.ts'

/** The answer of the S3 server behind to a question of ours. */
export interface BehindAnswer { status: number, headers: IncomingHttpHeaders, body: Buffer }

/** How a request passes. */
export interface PassOptions {
  fault?: FaultRule | undefined
  /** In place of the request's own. */
  path?: string
  headers?: Record<string, string>
  /** Runs when the server behind has answered and before the client hears of it; what it returns are further headers. */
  answered?: (status: number, headers: IncomingHttpHeaders) => Promise<Record<string, string>> | Record<string, string>
}

/** The S3 server behind the pass-through. */
export class Behind {
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true })

  constructor (port: number) {
    this.#port = port
  }

  /** A small request of our own. */
  async ask (method: string, path: string, headers: Record<string, string> = {}): Promise<BehindAnswer> {
    const outgoing = httpRequest({ host: '127.0.0.1', port: this.#port, agent: this.#agent, method, path, headers: { 'Content-Length': '0', ...headers } })
    outgoing.end()
    const [incoming] = await once(outgoing, 'response') as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    return { status: incoming.statusCode ?? 502, headers: incoming.headers, body: Buffer.concat(chunks) }
  }

  /** Passes a client's request; resolves when the head of the answer has gone out, the body follows. */
  async pass (request: IncomingMessage, response: ServerResponse, { fault, path, headers, answered }: PassOptions = {}): Promise<void> {
    // The server behind takes a name with dots in it for that of a bucket.
    const host = `127.0.0.1:${this.#port}`
    const outgoing = httpRequest({ host: '127.0.0.1', port: this.#port, method: request.method ?? 'GET', path: path ?? request.url ?? '/', headers: { ...request.headers, host, ...headers } })
    // A client that goes away in the middle of its body must not leave half a request waiting.
    response.once('close', () => { if (!request.complete) outgoing.destroy() })
    request.pipe(outgoing)
    try {
      const [incoming] = await once(outgoing, 'response') as [IncomingMessage]
      const status = incoming.statusCode ?? 502
      const more = await answered?.(status, incoming.headers) ?? {}
      response.writeHead(status, [...incoming.rawHeaders, ...Object.entries(more).flat()])
      send(incoming, response, fault).catch(() => { response.destroy() })
    } catch {
      response.destroy()
    }
  }

  close (): void {
    this.#agent.destroy()
  }
}

/** Sends a body with back-pressure, and breaks it as the fault says. */
export async function send (source: Iterable<Buffer> | AsyncIterable<Buffer>, response: ServerResponse, fault: FaultRule | undefined): Promise<void> {
  let left = fault?.reset === 'mid-body' || fault?.hang === 'mid-body' ? fault.afterBytes ?? 0 : Infinity
  for await (const chunk of source) {
    if (response.destroyed) return
    const piece = chunk.subarray(0, Math.min(chunk.length, left))
    left -= piece.length
    if (piece.length > 0 && !response.write(piece)) await drained(response)
    if (fault?.slow !== undefined) await new Promise(resolve => { setTimeout(resolve, piece.length / fault.slow!.bytesPerSecond * 1000) })
    if (left > 0) continue
    if (fault?.reset === 'mid-body') response.socket?.destroy()
    return
  }
  response.end()
}

/** A response that was closed never drains. */
async function drained (response: ServerResponse): Promise<void> {
  const abort = new AbortController()
  await Promise.race([once(response, 'drain', abort), once(response, 'close', abort)].map(async each => { await each.catch(() => {}) }))
  abort.abort()
}
