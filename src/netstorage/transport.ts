import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { AppError } from '../errors.ts'

export interface TransportOptions {
  /** Bare host name for https; an `http://` origin for emulators. */
  hostname: string
  connectTimeoutMs: number
  stallTimeoutMs: number
  maxSockets: number
}

export interface Exchange {
  method: 'GET' | 'PUT' | 'POST'
  /** The request line's path, sent as it is. */
  wirePath: string
  headers: Record<string, string>
  /** What is tried, for messages. */
  what: string
  signal?: AbortSignal | undefined
  /** Sends the body and ends the request; absent = an empty body. Its failure destroys the request. */
  send?: (request: ClientRequest) => Promise<void>
}

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
  /** Epoch milliseconds. */
  sentAt: number
  receivedAt: number
  /** The answer came before the body was fully sent. */
  early: boolean
}

const largestAnswerBytes = 64 * 1024 * 1024

/** One HTTP exchange with deadlines for silence: as long as bytes move in either direction, it may take its time. */
export function createTransport ({ hostname, connectTimeoutMs, stallTimeoutMs, maxSockets }: TransportOptions) {
  const secure = !hostname.startsWith('http://')
  const origin = new URL(secure ? `https://${hostname.replace(/^https:\/\//, '')}` : hostname)
  const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets, scheduling: 'lifo', keepAliveMsecs: 1000 })
  const request = secure ? httpsRequest : httpRequest

  async function once (exchange: Exchange): Promise<Answer> {
    exchange.signal?.throwIfAborted()
    return await new Promise<Answer>((resolve, reject) => {
      const { method, wirePath, headers, what, signal, send } = exchange
      const sentAt = Date.now()
      let sent = false
      let finished = false
      const outgoing = request({ agent, hostname: origin.hostname.replace(/^\[|\]$/g, ''), port: origin.port, method, path: wirePath, headers: { 'Accept-Encoding': 'identity', ...headers }, setDefaultHeaders: true })
      const silent = (ms: number, doing: string) => new AppError('netstorage_silent', `NetStorage did not ${doing} for ${ms / 1000} s during ${what}; it will be tried again.`)
      let deadline: NodeJS.Timeout = setTimeout(() => { outgoing.destroy(silent(connectTimeoutMs, 'accept a connection')) }, connectTimeoutMs)
      let seen = -1
      const watch = (): void => {
        clearTimeout(deadline)
        deadline = setTimeout(() => {
          const { socket } = outgoing
          const moved = (socket?.bytesRead ?? 0) + (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0)
          if (moved === seen) outgoing.destroy(silent(stallTimeoutMs, 'move a byte'))
          else {
            seen = moved
            watch()
          }
        }, stallTimeoutMs)
      }
      const end = (): void => {
        finished = true
        clearTimeout(deadline)
        signal?.removeEventListener('abort', onAbort)
      }
      const fail = (error: Error): void => {
        if (finished) return
        end()
        outgoing.destroy()
        reject(error)
      }
      const onAbort = (): void => { fail(signal?.reason as Error) }
      signal?.addEventListener('abort', onAbort, { once: true })
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        fail(error instanceof AppError ? error : Object.assign(new AppError('netstorage_unavailable', `The connection to NetStorage broke during ${what} (${error.code ?? error.message}); it will be tried again.`, { cause: error }), { reused: outgoing.reusedSocket }))
      })
      outgoing.on('socket', socket => {
        if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', watch)
        else watch()
      })
      outgoing.on('response', incoming => {
        const early = !sent
        const chunks: Buffer[] = []
        let size = 0
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > largestAnswerBytes) fail(new AppError('netstorage_refused', `NetStorage sent more than ${largestAnswerBytes} bytes in answer to ${what}.`))
          else chunks.push(chunk)
        })
        incoming.on('error', error => { fail(new AppError('netstorage_unavailable', `The answer to ${what} broke off; it will be tried again.`, { cause: error })) })
        incoming.on('end', () => {
          if (finished) return
          end()
          // A body that nobody wants any more must not keep flowing.
          if (early) outgoing.destroy()
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks), sentAt, receivedAt: Date.now(), early })
        })
      })
      if (send === undefined) {
        sent = true
        outgoing.end()
      } else send(outgoing).then(() => { sent = true }, fail)
    })
  }

  return {
    host: origin.host,
    /** Throws `netstorage_silent` or `netstorage_unavailable`, the signal's reason, or what `send` threw. */
    async exchange (exchange: Exchange): Promise<Answer> {
      try {
        return await once(exchange)
      } catch (error) {
        // A kept connection may have been closed by the other side just as we used it: such a request never arrived.
        if (exchange.send === undefined && (error as { reused?: boolean }).reused === true) return await once(exchange)
        throw error
      }
    },
    close () {
      agent.destroy()
    }
  }
}

/** The transport of one client. */
export type Transport = ReturnType<typeof createTransport>
