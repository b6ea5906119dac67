import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { randomBytes, randomUUID } from 'node:crypto'
import { Faults } from '../kit/faults.ts'
import { Bucket, documentedBuckets, type BucketName, type BucketSize } from './buckets.ts'
import { readObjects, type ObjectType, type ServiceRefusal } from './objects.ts'
import { checkSignature, type ApiClient } from './signature.ts'

export interface FastPurgeOptions {
  port?: number
  host?: string
  clients: ApiClient[]
  /** Hosts whose URLs the account may purge; undefined = all. */
  hosts?: string[]
  /** CP codes the account may purge; undefined = all. */
  cpCodes?: number[]
  buckets?: Partial<Record<BucketName, BucketSize>>
  /** Epoch milliseconds. */
  now?: () => number
  windowSeconds?: number
  maxBodyBytes?: number
  estimatedSeconds?: number
  /** What clients sign: `https` where something in front ends TLS. */
  scheme?: 'http' | 'https'
}

/** One request as it was answered. */
export interface PurgeLogEntry {
  at: number
  status: number
  action?: string
  type?: ObjectType
  network?: string
  objects?: Array<string | number>
  purgeId?: string
  bytes: number
  detail?: string
}

export interface FastPurgeEmulator {
  origin: string
  port: number
  /** Every request, in the order of the answers. */
  log: PurgeLogEntry[]
  /** The accepted purges. */
  purges: () => PurgeLogEntry[]
  /** Change them to take a grant away and give it back. */
  clients: ApiClient[]
  buckets: Record<BucketName, Bucket>
  faults: Faults
  /** Seconds by which this server's clock is ahead. */
  clock: { offsetSeconds: number }
  close: () => Promise<void>
}

const route = /^\/ccu\/v3\/(?:(invalidate|delete)\/(url|cpcode|tag)(?:\/(staging|production))?|rate-limit-status\/(url|cpcode|tag)(?:\/(?:staging|production))?)$/

/**
 * Fast Purge behind its EdgeGrid gateway, as strict as Akamai is known to be: all or nothing, real token buckets, and
 * gateway and service refusals in their two distinct shapes.
 */
export async function startFastPurge (options: FastPurgeOptions): Promise<FastPurgeEmulator> {
  const clock = { offsetSeconds: 0 }
  const real = options.now ?? Date.now
  const now = () => real() + clock.offsetSeconds * 1000
  const limits = { ...documentedBuckets, ...options.buckets }
  const bucket = (name: BucketName) => new Bucket(limits[name], real)
  const buckets = { request: bucket('request'), url: bucket('url'), cpcode: bucket('cpcode'), tag: bucket('tag') }
  const log: PurgeLogEntry[] = []
  const faults = new Faults()
  const nonces = new Map<string, number>()
  const { clients, windowSeconds = 30, maxBodyBytes = 50_000, estimatedSeconds = 5, scheme = 'http' } = options

  const isReplay = (client: string, nonce: string): boolean => {
    for (const [known, at] of nonces) if (at < now() - 2 * windowSeconds * 1000) nonces.delete(known)
    const key = `${client} ${nonce}`
    if (nonces.has(key)) return true
    nonces.set(key, now())
    return false
  }

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const target = request.url ?? ''
    const [, action, type, network = 'production', statusType] = route.exec(target.split('?')[0] ?? '') ?? []
    const fault = faults.take({ method: request.method ?? '', path: target, ...(action === undefined ? {} : { action }) })
    if (fault?.latencyMs !== undefined) await new Promise(resolve => { setTimeout(resolve, fault.latencyMs) })
    await fault?.until
    if (fault?.reset === 'before') {
      request.socket.destroy()
      return
    }
    if (fault?.hang === 'before') return
    const entry: PurgeLogEntry = { at: now(), status: 0, bytes: body.length, ...(action === undefined ? {} : { action, type: type as ObjectType, network }) }
    const send = (status: number, contentType: string, text: string, headers: Record<string, string> = {}): void => {
      log.push({ ...entry, status })
      response.writeHead(status, { 'Content-Type': contentType, Date: new Date(now()).toUTCString(), ...headers }).end(text)
    }
    if (fault?.status !== undefined) return send(fault.status, 'text/html', fault.body ?? '<html>forced</html>', fault.headers)

    const gate = checkSignature({ method: request.method ?? '', scheme, host: request.headers.host ?? '', target, headers: request.headers, body }, { clients, nowMs: now(), windowSeconds, isReplay })
    if (gate !== undefined) {
      entry.detail = gate.detail
      return send(gate.status, 'application/problem+json', JSON.stringify({
        type: `https://problems.purge.akamaiapis.net/-/${gate.problem}`,
        title: gate.title,
        status: gate.status,
        detail: gate.detail,
        instance: `${scheme}://${request.headers.host}${target}`,
        method: request.method,
        serverIp: '192.0.2.1',
        clientIp: '127.0.0.1',
        requestId: randomBytes(4).toString('hex'),
        requestTime: new Date(now()).toISOString()
      }))
    }
    const refuse = ({ status, title, detail, extra }: ServiceRefusal, headers: Record<string, string> = {}): void => {
      entry.detail = detail
      send(status, 'application/api-problem+json', JSON.stringify({ httpStatus: status, title, detail, supportId: `e-${randomUUID()}`, describedBy: 'https://techdocs.akamai.com/purge-cache/reference/api-errors', ...extra }), headers)
    }
    if (action === undefined && statusType === undefined) return refuse({ status: 404, title: 'not found', detail: 'The endpoint does not exist' })
    if (request.method !== 'POST') return refuse({ status: 405, title: 'method not allowed', detail: 'The method is not valid here' })
    if (request.headers.expect !== undefined) return refuse({ status: 417, title: 'expectation failed', detail: 'Expect is not supported' })
    if (statusType !== undefined) {
      buckets.request.drain(1)
      return send(201, 'application/json', JSON.stringify({ httpStatus: 201, detail: 'Request accepted', supportId: `e-${randomUUID()}` }), rateHeaders(statusType as ObjectType))
    }
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return refuse({ status: 415, title: 'unsupported media type', detail: 'Content-Type must be application/json' })
    if (request.headers['content-length'] === undefined) return refuse({ status: 411, title: 'length required', detail: 'Content-Length is missing' })
    if (body.length > maxBodyBytes) return refuse({ status: 413, title: 'request entity too large', detail: `The body exceeds ${maxBodyBytes} bytes` })
    const kind = type as ObjectType
    const objects = readObjects(body, kind)
    if (!Array.isArray(objects)) return refuse(objects)
    entry.objects = objects
    const short = buckets.request.remaining < 1 ? buckets.request : buckets[kind].remaining < objects.length ? buckets[kind] : undefined
    if (short !== undefined) {
      const title = short === buckets.request ? 'Rate Limit exceeded' : `${kind.toUpperCase()} Rate Limit exceeded`
      return refuse({ status: 429, title, detail: '', extra: { rateLimit: short.limit.size, rateLimitCurrentRequestSize: short === buckets.request ? 1 : objects.length, rateLimitRemaining: Math.floor(short.remaining) } }, rateHeaders(kind))
    }
    buckets.request.drain(1)
    const foreign = objects.find(object => !isOurs(kind, object))
    if (foreign !== undefined) return refuse({ status: 403, title: kind === 'cpcode' ? 'unauthorized cpcode' : 'unauthorized arl', detail: String(foreign) })
    buckets[kind].drain(objects.length)
    const purgeId = `e${(action as string)[0]}${kind[0]}${network[0]}-${randomBytes(16).toString('base64url')}`
    entry.purgeId = purgeId
    if (fault?.hang === 'after-commit') {
      log.push({ ...entry, status: 201 })
      return
    }
    send(201, 'application/json', JSON.stringify({ httpStatus: 201, detail: 'Request accepted', supportId: purgeId, purgeId, estimatedSeconds }), rateHeaders(kind))
  }

  function isOurs (kind: ObjectType, object: string | number): boolean {
    if (kind === 'cpcode') return options.cpCodes?.includes(Number(object)) ?? true
    if (kind === 'tag' || options.hosts === undefined) return true
    const host = /^https?:\/\/([^/?]+)/.exec(String(object))?.[1] ?? String(object).split('/')[5] ?? ''
    return options.hosts.includes(host.toLowerCase())
  }

  function rateHeaders (kind: ObjectType): Record<string, string> {
    const lines = (of: Bucket, suffix: string) => ({
      [`X-Ratelimit-Limit${suffix}`]: String(of.limit.size),
      [`X-Ratelimit-Limit-Per-Second${suffix}`]: of.limit.perSecond.toFixed(2),
      [`X-Ratelimit-Remaining${suffix}`]: String(Math.floor(of.remaining)),
      [`X-Ratelimit-Seconds-To-Refresh-Limit${suffix}`]: ((of.limit.size - of.remaining) / of.limit.perSecond).toFixed(2)
    })
    return { ...lines(buckets.request, ''), ...lines(buckets[kind], '-Objects') }
  }

  const server = createServer((request, response) => { handle(request, response).catch(() => { request.socket.destroy() }) })
  await new Promise<void>(resolve => { server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    log,
    purges: () => log.filter(each => each.purgeId !== undefined),
    clients,
    buckets,
    faults,
    clock,
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
