import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { AppError } from '../errors.ts'
import { watchSilence } from './silence.ts'

export interface TransportOptions {
  /** Bare host name for https; an `http://` origin for emulators. */
  hostname: string
  /** From the first packet to a connection that is ready, TLS included; waiting for a free one of ours does not count. */
  connectTimeoutMs: number
  stallTimeoutMs: number
  maxSockets: number
  /** Epoch milliseconds. */
  now: () => number
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
  /** When its head came, in epoch milliseconds. */
  receivedAt: number
  /** The answer came before the body was fully sent. */
  early: boolean
}

/** A kept connection was gone before an answer began: whoever asked may ask again, anew. */
export class ConnectionGone extends AppError {}

const largestAnswerBytes = 64 * 1024 * 1024

const unreachedAdvice = ' Check the host name of the target (NS_HOSTNAME) and the network.'

/** One HTTP exchange with deadlines for silence: as long as bytes move in either direction, it may take its time. */
export function createTransport ({ hostname, connectTimeoutMs, stallTimeoutMs, maxSockets, now }: TransportOptions) {
  const secure = !hostname.startsWith('http://')
  const origin = new URL(secure ? `https://${hostname.replace(/^https:\/\//, '')}` : hostname)
  const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets, scheduling: 'lifo', keepAliveMsecs: 1000 })
  const request = secure ? httpsRequest : httpRequest
  const server = { agent, hostname: origin.hostname.replace(/^\[|\]$/g, ''), port: origin.port }

  /** Throws `netstorage_silent` or `netstorage_unavailable`, the latter as ConnectionGone where it may be no fault; the signal's reason; or what `send` threw. */
  async function exchange ({ method, wirePath, headers, what, signal, send }: Exchange): Promise<Answer> {
    signal?.throwIfAborted()
    return await new Promise<Answer>((resolve, reject) => {
      const outgoing = request({ ...server, method, path: wirePath, headers: { 'Accept-Encoding': 'identity', ...headers } })
      let sent = send === undefined
      let answered = false
      let finished = false
      let stopWatch = (): void => {}
      const end = (): void => {
        finished = true
        stopWatch()
        signal?.removeEventListener('abort', onAbort)
      }
      const fail = (error: unknown): void => {
        if (finished) return
        end()
        outgoing.destroy()
        reject(error)
      }
      const onAbort = (): void => { fail(signal?.reason) }
      const silent = (ms: number, doing: string, advice = ''): void => { fail(new AppError('netstorage_silent', `NetStorage did not ${doing} for ${ms / 1000} s during ${what}; it will be tried again.${advice}`)) }
      const broke = (error: NodeJS.ErrnoException): void => {
        const unreached = error.syscall === 'connect' || error.syscall === 'getaddrinfo'
        // Closed by the other side, it seems, just as we used it. Bodies are not sent twice from here.
        const Failure = outgoing.reusedSocket && send === undefined && !answered ? ConnectionGone : AppError
        const happened = unreached ? `NetStorage could not be reached for ${what}` : `The connection to NetStorage broke during ${what}`
        // Where an address has several forms, none of which answers, the message is empty.
        fail(new Failure('netstorage_unavailable', `${happened} (${error.message === '' ? error.code : error.message}); it will be tried again.${unreached ? unreachedAdvice : ''}`, { cause: error }))
      }
      const watch = (socket: Socket): void => {
        stopWatch()
        stopWatch = watchSilence(outgoing, socket, stallTimeoutMs, () => { silent(stallTimeoutMs, 'move a byte') })
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      outgoing.on('error', broke)
      outgoing.on('socket', socket => {
        if (!socket.connecting) return watch(socket)
        const deadline = setTimeout(() => { silent(connectTimeoutMs, 'accept a connection', unreachedAdvice) }, connectTimeoutMs)
        stopWatch = () => { clearTimeout(deadline) }
        socket.once(secure ? 'secureConnect' : 'connect', () => { watch(socket) })
      })
      outgoing.on('response', incoming => {
        const early = !sent
        const receivedAt = now()
        const chunks: Buffer[] = []
        let size = 0
        answered = true
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > largestAnswerBytes) fail(new AppError('netstorage_refused', `NetStorage sent more than ${largestAnswerBytes} bytes in answer to ${what}.`))
          else chunks.push(chunk)
        })
        incoming.on('error', broke)
        incoming.on('end', () => {
          end()
          // A body that nobody wants any more must not keep flowing.
          if (early) outgoing.destroy()
          resolve({ status: incoming.statusCode as number, headers: incoming.headers, body: Buffer.concat(chunks), receivedAt, early })
        })
      })
      if (send === undefined) outgoing.end()
      else send(outgoing).then(() => { sent = true }, fail)
    })
  }

  return {
    host: origin.host,
    exchange,
    /** Keeps no connection beyond the exchange that uses it. */
    retire () {
      agent.maxFreeSockets = 0
      for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    },
    close () {
      agent.destroy()
    }
  }
}
