import { randomInt } from 'node:crypto'
import { AppError } from '../errors.ts'
import { actionHeader, encodePath, sign } from './auth.ts'
import { createClock } from './clock.ts'
import { describe, refusal, retryAfter, type Attempt } from './refusal.ts'
import { dirResume, listResume, parsePage, type Entry } from './response.ts'
import { ConnectionGone, createTransport, type Answer, type Exchange } from './transport.ts'
import { sendBody } from './upload.ts'

export interface NetStorageOptions {
  /** Bare host name; or an `http://` origin for emulators. */
  hostname: string
  keyName: string
  key: string
  /** Silence that ends a request (30000). */
  stallTimeoutMs?: number
  /** 5000 unless given. */
  connectTimeoutMs?: number
  maxSockets?: number
  /** Epoch milliseconds. */
  now?: () => number
  uniqueId?: () => string
  /** Called before each request leaves; resolves when it may. */
  admit?: (kind: 'read' | 'write', signal: AbortSignal | undefined) => Promise<void>
  /** Called when a request ends; `status` is 0 where no answer came. */
  onRequest?: (request: { action: Attempt['action'], status: number, durationMs: number }) => void
  /** Called when the signing clock is found to be off, with the seconds that are added from now on. */
  onClockOffset?: (offsetSeconds: number) => void
}

/** A place on NetStorage: `path` is raw, without leading slash; empty for the root of the CP code. */
export interface Place { cpCode: number, path: string, signal?: AbortSignal }

export interface Upload extends Place {
  body: AsyncIterable<Uint8Array>
  sizeBytes: number
  /** Lower-case hex; with it the bytes pass untouched, without it they are hashed on their way. */
  md5?: string
  /** Unix seconds. */
  mtime: number
  /** Called before the last bytes leave; what it throws keeps the upload from committing. */
  beforeCommit?: () => void
  /** Called with each chunk of the body that has left and is not looked at again. */
  release?: (chunk: Uint8Array) => void
  onProgress?: (sentBytes: number) => void
}

export interface Deletion extends Place {
  /** Called when its turn has come, right before it leaves; what it throws keeps it back. */
  beforeSend?: () => void
}

export interface NetStorageClient {
  /** Stores an object. Acknowledged is not verified: ask `stat`. Whatever fails, the object of before stays. */
  upload: (upload: Upload) => Promise<{ md5: string }>
  /** What is at a place; undefined if nothing is. */
  stat: (place: Place) => Promise<Entry | undefined>
  /** Deletes a file. */
  delete: (deletion: Deletion) => Promise<'deleted' | 'absent'>
  /** The direct children of a directory, in byte order. */
  dir: (place: Place) => AsyncGenerator<Entry>
  /** All that lies below a directory, by its path below the CP code, in byte order. */
  list: (place: Place) => AsyncGenerator<Entry>
  /** Lets go of idle connections; what runs, or is begun by whoever still holds the client, ends as if nothing were. */
  retire: () => void
  close: () => void
}

/** Which of the two budgets an action is counted in. */
export const kindOf = (action: Attempt['action']): 'read' | 'write' => action === 'upload' || action === 'delete' ? 'write' : 'read'

/**
 * A client of the NetStorage Usage API for one upload account. Throws AppErrors `netstorage_*`, what the body of an
 * upload throws, or the reason of an abort.
 */
export function createNetStorageClient (options: NetStorageOptions): NetStorageClient {
  const { keyName, key, now = Date.now, admit, onRequest = () => {}, onClockOffset = () => {} } = options
  const uniqueId = options.uniqueId ?? (() => String(randomInt(2 ** 48 - 1)))
  const clock = createClock(now, onClockOffset)
  const transport = createTransport({
    hostname: options.hostname,
    connectTimeoutMs: options.connectTimeoutMs ?? 5000,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    maxSockets: options.maxSockets ?? 64,
    now
  })
  const headersFor = (wirePath: string, action: string) => sign({ keyName, key, wirePath, action, nowSeconds: clock.seconds(), uniqueId: uniqueId() })

  /**
   * One exchange. Connections that were kept may all be gone: the next is tried, a new one at last. That does no harm,
   * because without a body there are only questions and deletes; and each try is one of its own to all who count,
   * permit or refuse repeats.
   */
  async function send (attempt: Attempt, action: string, exchange: Partial<Exchange>, beforeSend?: () => void): Promise<{ answer: Answer, usedOffset: number }> {
    for (;;) {
      try {
        return await sendOnce(attempt, action, exchange, beforeSend)
      } catch (error) {
        if (!(error instanceof ConnectionGone)) throw error
      }
    }
  }

  /** Signed when it leaves, and counted. */
  async function sendOnce (attempt: Attempt, action: string, exchange: Partial<Exchange>, beforeSend: () => void = () => {}): Promise<{ answer: Answer, usedOffset: number }> {
    await admit?.(kindOf(attempt.action), exchange.signal)
    beforeSend()
    const startedAt = performance.now()
    const usedOffset = clock.offset()
    let status = 0
    try {
      const answer = await transport.exchange({
        method: 'GET',
        ...exchange,
        wirePath: attempt.wirePath,
        what: describe(attempt),
        headers: { ...headersFor(attempt.wirePath, action), ...exchange.headers }
      })
      status = answer.status
      return { answer, usedOffset }
    } finally {
      onRequest({ action: attempt.action, status, durationMs: performance.now() - startedAt })
    }
  }

  /** The one door for every action: what it returns was accepted. A refusal that our clock explains is asked again, once. */
  async function call (attempt: Attempt, params: Record<string, string | number | Uint8Array | undefined>, exchange: Partial<Exchange>, accept: (status: number) => boolean, beforeSend?: () => void): Promise<Answer> {
    const action = actionHeader({ action: attempt.action, ...params })
    let { answer, usedOffset } = await send(attempt, action, exchange, beforeSend)
    if (answer.status === 403 && clock.correct({ date: answer.headers.date, receivedAt: answer.receivedAt }, usedOffset)) {
      // A body that was read cannot be sent again from here.
      if (exchange.send !== undefined) throw new AppError('netstorage_unavailable', `NetStorage refused the time of ${describe(attempt)}; it will be tried again, signed ${clock.offset()} s from this machine's clock.`)
      answer = (await send(attempt, action, exchange, beforeSend)).answer
    }
    if (accept(answer.status) && !(answer.early && exchange.send !== undefined)) return answer
    throw refusal(attempt, answer.status, retryAfter(answer.headers['retry-after'], now()))
  }

  const attemptOf = (action: Attempt['action'], cpCode: number, wirePath: string): Attempt => ({ action, host: transport.host, keyName, cpCode, wirePath })
  const wire = ({ cpCode, path }: Place) => `/${cpCode}${path === '' ? '' : `/${encodePath(path)}`}`
  const success = (status: number) => status >= 200 && status < 300
  const question = { format: 'xml', encoding: 'utf-8' }

  /** What an answer says. One that makes no sense, such as the page of a proxy, is taken for a passing fault. */
  function understand<T> (attempt: Attempt, read: () => T): T {
    try {
      return read()
    } catch (cause) {
      throw new AppError('netstorage_unavailable', `NetStorage's answer to ${describe(attempt)} makes no sense: ${(cause as Error).message}. It will be tried again.`, { cause })
    }
  }

  return {
    async upload (upload) {
      const { cpCode, body, sizeBytes, md5, mtime, signal, beforeCommit = () => {}, release = () => {}, onProgress = () => {} } = upload
      const wirePath = wire(upload)
      // One hash serves both the signed trailer and the comparison with `stat`, which shows no other digest than MD5.
      const params = { size: sizeBytes, md5: md5 ?? 'atend', mtime }
      let hashed = md5
      const framing: Record<string, string> = md5 === undefined ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(sizeBytes) }
      await call(attemptOf('upload', cpCode, wirePath), params, {
        method: 'PUT',
        signal,
        headers: framing,
        async send (request) {
          const digest = await sendBody(request, {
            body,
            sizeBytes,
            hash: md5 === undefined,
            beforeCommit,
            release,
            onProgress,
            trailers: value => headersFor(wirePath, actionHeader({ action: 'upload', ...params, md5: value }))
          })
          hashed = md5 ?? digest
        }
      }, success)
      return { md5: hashed as string }
    },

    async stat (place) {
      const attempt = attemptOf('stat', place.cpCode, wire(place))
      const { status, body } = await call(attempt, { ...question, implicit: place.path === '' ? 'yes' : undefined }, { signal: place.signal }, each => each === 200 || each === 404)
      return status === 404 ? undefined : understand(attempt, () => parsePage(body, 'stat').entries[0])
    },

    async delete (place) {
      const answer = await call(attemptOf('delete', place.cpCode, wire(place)), {}, { method: 'PUT', signal: place.signal, headers: { 'Content-Length': '0' } },
        status => success(status) || status === 404, place.beforeSend)
      return answer.status === 404 ? 'absent' : 'deleted'
    },

    async * dir (place) {
      const attempt = attemptOf('dir', place.cpCode, wire(place))
      let start: Buffer | undefined
      do {
        const { body } = await call(attempt, { ...question, start }, { signal: place.signal }, status => status === 200)
        const page = understand(attempt, () => parsePage(body, 'stat'))
        yield * page.entries
        start = understand(attempt, () => page.resume && dirResume(page.resume, start))
      } while (start !== undefined)
    },

    async * list ({ cpCode, path, signal }) {
      // The slash keeps siblings such as `img-old` out, and `0`, the byte behind it, ends what lies below.
      const base = path === '' ? '' : `${path.replace(/\/$/, '')}/`
      const root = `${cpCode}/`
      const end = base === '' ? undefined : `/${root}${base.replace(/\/$/, '0')}`
      let from: Buffer | undefined = Buffer.from(`/${root}${base}`)
      do {
        const after: Buffer = from
        const attempt = attemptOf('list', cpCode, encodePath(after))
        const { status, body } = await call(attempt, { ...question, end }, { signal }, each => each === 200 || each === 404)
        if (status === 404) return
        const page = understand(attempt, () => parsePage(body, 'list'))
        for (const entry of page.entries) {
          // The directory itself comes first, an object that is really called `...0` last: neither is below it.
          if (entry.name.startsWith(root + base)) yield { ...entry, name: entry.name.slice(root.length) }
        }
        from = understand(attempt, () => page.resume && listResume(page.resume, cpCode, after))
      } while (from !== undefined)
    },

    retire () {
      transport.retire()
    },

    close () {
      transport.close()
    }
  }
}
