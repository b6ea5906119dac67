import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Faults, type FaultRule } from '../kit/faults.ts'
import type { Action } from './action.ts'
import { acknowledged, notFound, type Answer } from './answer.ts'
import type { Account } from './auth.ts'
import { breaksAnswer, deliver } from './delivery.ts'
import { createGate, type GateOptions } from './gate.ts'
import { inspect, type StoreInspection } from './inspection.ts'
import { percentDecode, textOf } from './names.ts'
import { dir, download, du, list, stat } from './read-actions.ts'
import { ObjectStore } from './store.ts'
import { receive } from './upload.ts'
import { write } from './write-actions.ts'

export interface NetStorageOptions extends GateOptions {
  /** A free one unless given. */
  port?: number
  accounts: Account[]
  /** Epoch milliseconds. */
  now?: () => number
  /** Entries of a list or dir after which the answer ends with a resume (1000). */
  pageSize?: number
  /** What a body is answered whose size or digest is another than announced (422; Akamai's is not known). */
  digestMismatchStatus?: number
  /** Bodies up to this many bytes can be downloaded again (16 MiB); of larger ones only the digests are kept. */
  keepBodiesUpTo?: number
}

/** One request as it was answered; `status` 0 = it was not answered, or not to the end. */
export interface NetStorageLogEntry { startedAt: number, finishedAt: number, method: string, action: string, path: string, name: string, status: number, bytes: number, md5?: string, reason?: string }

export interface NetStorageEmulator {
  origin: string
  port: number
  store: StoreInspection
  /** Every request, in the order of the answers. */
  log: NetStorageLogEntry[]
  /** The most uploads that ever ran at once on one path; more than one is a fault of the client. */
  mostUploadsAtOnce: () => number
  /** The names whose uploads run now; one whose client died counts until that is noticed. */
  uploading: () => string[]
  accounts: Account[]
  faults: Faults
  /** Seconds by which this server's clock is ahead. */
  clock: { offsetSeconds: number }
  close: () => Promise<void>
}

const common = { Server: 'AkamaiNetStorage', 'Accept-Ranges': 'bytes', 'Cache-Control': 'max-age=0, no-cache, no-store', Pragma: 'no-cache' }
const host = '127.0.0.1'

/** NetStorage (ObjectStore) by its Usage API, as strict as Akamai is known to be. */
export async function startNetStorage (options: NetStorageOptions): Promise<NetStorageEmulator> {
  const { accounts, pageSize = 1000, digestMismatchStatus = 422, keepBodiesUpTo = 16 * 1024 * 1024, lenientParameters = false } = options
  const real = options.now ?? Date.now
  const clock = { offsetSeconds: 0 }
  const nowMs = () => real() + clock.offsetSeconds * 1000
  const admit = createGate(options, nowMs)
  const store = new ObjectStore()
  const faults = new Faults()
  const log: NetStorageLogEntry[] = []
  const uploading = new Map<string, number>()
  let most = 0

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', socket } = request
    const decoded = percentDecode(path)
    const name = decoded ?? path
    const entry: NetStorageLogEntry = { startedAt: nowMs(), finishedAt: 0, method, action: '', path, name: textOf(name), status: 0, bytes: 0 }
    const finish = (status: number, more: Partial<NetStorageLogEntry> = {}): void => { log.push({ ...entry, ...more, status, finishedAt: nowMs() }) }
    const send = async ({ status, headers = {}, body = '', reason }: Answer, more: Partial<NetStorageLogEntry> = {}, fault?: FaultRule): Promise<void> => {
      const bytes = Buffer.from(status === 204 ? '' : body)
      const date = new Date(nowMs()).toUTCString()
      finish(breaksAnswer(fault) ? 0 : status, { ...more, ...(reason === undefined ? {} : { reason }) })
      response.writeHead(status, { ...common, Date: date, Expires: date, ...headers, 'Content-Length': bytes.length })
      if (fault === undefined || method === 'HEAD') response.end(bytes)
      else await deliver(response, bytes, fault)
    }

    const admission = admit(method, path, decoded, request.rawHeaders)
    entry.action = admission.action?.name ?? ''
    if ('refused' in admission) return await send(admission.refused)
    const { action, verifyTrailers } = admission
    const fault = faults.take({ action: action.name, method, path: textOf(name) })
    if (fault?.latencyMs !== undefined) await sleep(fault.latencyMs)
    await fault?.until
    if (fault?.reset === 'before') {
      finish(0)
      socket.destroy()
      return
    }
    if (fault?.hang === 'before') return finish(0, { reason: 'not answered' })
    const forced = fault?.status
    if (forced !== undefined && (forced < 200 || forced > 299)) return await send({ status: forced, body: fault?.body ?? 'forced\n', headers: fault?.headers ?? {} })
    if (action.name !== 'upload') {
      const answer = act(request, name, action, fault?.kind)
      if (fault?.hang === 'after-commit') return finish(0, { reason: 'done, not acknowledged' })
      return await send({ ...answer, status: answer.status === 200 ? forced ?? 200 : answer.status }, {}, fault)
    }

    const running = (uploading.get(name) ?? 0) + 1
    uploading.set(name, running)
    most = Math.max(most, running)
    try {
      const result = await receive(request, action, { keepBodiesUpTo, digestMismatchStatus, lenientParameters, nowMs, fault, verifyTrailers })
      if ('broken' in result) {
        finish(0, { bytes: result.bytes, reason: result.broken })
        if (result.broken === 'cut') socket.destroy()
        return
      }
      if ('answer' in result) return await send(result.answer, { bytes: result.bytes })
      if (fault?.kind !== 'lose-upload') store.set(name, result.object)
      if (fault?.hang === 'after-commit') return finish(0, { bytes: result.bytes, md5: result.md5, reason: 'stored, not acknowledged' })
      await send(acknowledged(forced ?? 200), { bytes: result.bytes, md5: result.md5 })
    } catch {
      // The client went away in the middle of its body: the old object stays.
      finish(0)
      socket.destroy()
    } finally {
      const left = (uploading.get(name) as number) - 1
      if (left > 0) uploading.set(name, left)
      else uploading.delete(name)
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

  // No limit to the time a request takes: a large upload may be slow.
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    const { socket } = request
    handle(request, response).catch(() => { socket.destroy() })
  })
  await new Promise<void>(resolve => { server.listen(options.port ?? 0, host, resolve) })
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://${host}:${port}`,
    port,
    store: inspect(store, nowMs),
    log,
    mostUploadsAtOnce: () => most,
    uploading: () => Array.from(uploading.keys(), textOf),
    accounts,
    faults,
    clock,
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
