import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Faults } from '../kit/faults.ts'
import { isMethodFor, isRead, parseAction, type Action } from './action.ts'
import { notFound, refuse, type Answer } from './answer.ts'
import { readSignedValues, verify, type Account } from './auth.ts'
import { inspect, type StoreInspection } from './inspection.ts'
import { cpCodeOf, percentDecode, textOf, tooLong } from './names.ts'
import { dir, download, du, list, stat } from './read-actions.ts'
import { ReplayGuard } from './replay.ts'
import { ObjectStore } from './store.ts'
import { TokenBucket } from './token-bucket.ts'
import { acknowledged, receive } from './upload.ts'
import { write } from './write-actions.ts'

export interface NetStorageOptions {
  port?: number
  host?: string
  accounts: Account[]
  /** Epoch milliseconds. */
  now?: () => number
  clockWindowSeconds?: number
  pageSize?: number
  replayCheck?: boolean
  digestMismatchStatus?: number
  lenientParameters?: boolean
  writesPerSecond?: number
  readsPerSecond?: number
  keepBodiesUpTo?: number
}

/** One request as it was answered; `status` 0 = the connection was cut. */
export interface NetStorageLogEntry { startedAt: number, finishedAt: number, method: string, action: string, path: string, name: string, status: number, bytes: number, md5?: string, reason?: string }

export interface NetStorageEmulator {
  origin: string
  port: number
  store: StoreInspection
  /** Every request, in the order of the answers. */
  log: NetStorageLogEntry[]
  /** The most uploads that ever ran at once on one path; more than one is a fault of the client. */
  mostUploadsAtOnce: () => number
  accounts: Account[]
  faults: Faults
  /** Seconds by which this server's clock is ahead. */
  clock: { offsetSeconds: number }
  close: () => Promise<void>
}

const common = { Server: 'AkamaiNetStorage', 'Cache-Control': 'max-age=0, no-cache, no-store', Pragma: 'no-cache' }

/** NetStorage (ObjectStore) by its Usage API, as strict as Akamai is known to be. */
export async function startNetStorage (options: NetStorageOptions): Promise<NetStorageEmulator> {
  const { accounts, clockWindowSeconds: windowSeconds = 60, pageSize = 1000, digestMismatchStatus = 422, keepBodiesUpTo = 16 * 1024 * 1024 } = options
  const real = options.now ?? Date.now
  const clock = { offsetSeconds: 0 }
  const nowMs = () => real() + clock.offsetSeconds * 1000
  const store = new ObjectStore()
  const faults = new Faults()
  const replay = new ReplayGuard()
  const log: NetStorageLogEntry[] = []
  const uploading = new Map<string, number>()
  let most = 0
  const buckets = { read: options.readsPerSecond, write: options.writesPerSecond }
  const limits = { read: buckets.read === undefined ? undefined : new TokenBucket(buckets.read, performance.now()), write: buckets.write === undefined ? undefined : new TokenBucket(buckets.write, performance.now()) }

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = nowMs()
    const { method = '', url: path = '' } = request
    const name = percentDecode(path) ?? path
    const entry: NetStorageLogEntry = { startedAt, finishedAt: 0, method, action: '', path, name: textOf(name), status: 0, bytes: 0 }
    const finish = (status: number, more: Partial<NetStorageLogEntry> = {}): void => { log.push({ ...entry, ...more, status, finishedAt: nowMs() }) }
    const send = ({ status, headers = {}, body = '', reason }: Answer, more: Partial<NetStorageLogEntry> = {}): void => {
      finish(status, { ...more, ...(reason === undefined ? {} : { reason }) })
      const bytes = Buffer.from(body)
      response.writeHead(status, { ...common, Date: new Date(nowMs()).toUTCString(), ...headers, 'Content-Length': bytes.length })
      response.end(method === 'HEAD' ? undefined : bytes)
      // What a refused upload still sends is not read.
      if (!request.complete) response.once('finish', () => { request.resume() })
    }

    const signed = readSignedValues(request.rawHeaders)
    if ('refusal' in signed) return send(refuse(403, signed.refusal))
    if (path.includes('?')) return send(refuse(400, 'the API takes no query'))
    const rules = () => ({ accounts, nowSeconds: nowMs() / 1000, windowSeconds })
    const known = verify(path, signed, rules())
    if (known.refusal !== undefined) return send(refuse(403, known.refusal))
    if (options.replayCheck === true && replay.isReplay(known.once, nowMs() / 1000, windowSeconds)) return send(refuse(403, 'this request was here before'))
    const action = parseAction(signed.action, options.lenientParameters ?? false)
    if (typeof action === 'string') return send(refuse(400, action))
    entry.action = action.name
    if (!isMethodFor(action.name, method)) return send(refuse(403, `${action.name} is not done by ${method}`))
    if (!known.account.cpCodes.includes(Number(cpCodeOf(name)))) return send(refuse(403, 'no right to this CP code'))
    const long = tooLong(name, 1024 + cpCodeOf(name).length + 2, 1024)
    if (long !== undefined) return send(refuse(400, long))
    if (limits[isRead(action.name) ? 'read' : 'write']?.take(performance.now()) === false) return send(refuse(429, 'too many requests'))

    const fault = faults.take({ action: action.name, method, path: textOf(name) })
    if (fault?.latencyMs !== undefined) await new Promise(resolve => { setTimeout(resolve, fault.latencyMs) })
    if (fault?.reset === 'before') {
      finish(0)
      request.socket.destroy()
      return
    }
    if (fault?.hang === 'before') return
    if (fault?.status !== undefined && (fault.status < 200 || fault.status > 299)) return send({ status: fault.status, body: fault.body ?? 'forced\n', headers: fault.headers ?? {} })
    if (action.name !== 'upload') return send(act(request, name, action, fault?.kind))

    const running = (uploading.get(name) ?? 0) + 1
    uploading.set(name, running)
    most = Math.max(most, running)
    try {
      const verifyTrailers = (late: Parameters<typeof verify>[1]) => verify(path, late, rules()).refusal
      const result = await receive(request, action, { keepBodiesUpTo, digestMismatchStatus, nowMs, fault, verifyTrailers })
      if ('cut' in result) {
        finish(0, { bytes: result.bytes })
        request.socket.destroy()
        return
      }
      if ('answer' in result) return send(result.answer, { bytes: result.bytes })
      if (fault?.kind !== 'lose-upload') store.set(name, result.object)
      if (fault?.hang === 'after-commit') return finish(0, { bytes: result.bytes, md5: result.md5, reason: 'stored, not acknowledged' })
      send(acknowledged(fault?.status ?? 200), { bytes: result.bytes, md5: result.md5 })
    } catch {
      // The client went away in the middle of its body: the old object stays.
      finish(0)
    } finally {
      uploading.set(name, (uploading.get(name) ?? 1) - 1)
    }
  }

  function act (request: IncomingMessage, name: string, action: Action, kind: string | undefined): Answer {
    switch (action.name) {
      case 'stat': return kind === 'missing-stat' ? notFound('forced') : stat(store, name, action, kind === 'stale-stat' ? wanted => store.before(wanted) : undefined)
      case 'dir': return dir(store, name, action, pageSize)
      case 'list': return list(store, name, action, pageSize)
      case 'du': return du(store, name, action)
      case 'download': return download(store, name, request.headers.range)
      default: return write(store, name, action, Math.floor(nowMs() / 1000))
    }
  }

  const server = createServer((request, response) => { handle(request, response).catch(() => { request.socket.destroy() }) })
  await new Promise<void>(resolve => { server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    store: inspect(store, nowMs),
    log,
    mostUploadsAtOnce: () => most,
    accounts,
    faults,
    clock,
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
