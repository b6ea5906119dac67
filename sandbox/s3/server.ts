import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, S3Client, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { startFauxqs } from 'fauxqs'
import { Faults, type FaultRule } from '../kit/faults.ts'
import { syntheticBytes, syntheticEtag, type Synthetic } from './synthetic.ts'

export interface S3Options { port?: number, host?: string }

/** One request as it was answered. */
export interface S3LogEntry { at: number, method: string, bucket: string, key: string, status: number, range?: string }

export interface S3Sandbox {
  origin: string
  port: number
  log: S3LogEntry[]
  faults: Faults
  /** Set `refused` to make every request look like one with wrong credentials. */
  access: { refused: boolean }
  client: S3Client
  createBucket: (bucket: string) => Promise<void>
  put: (bucket: string, key: string, body: string | Uint8Array, more?: Partial<PutObjectCommandInput>) => Promise<void>
  delete: (bucket: string, key: string) => Promise<void>
  /** An object by size and seed; it wins over a stored one of the same name. Returns its ETag. */
  putSynthetic: (bucket: string, key: string, object: Omit<Synthetic, 'lastModified' | 'etag'> & Partial<Synthetic>) => string
  close: () => Promise<void>
}

const secrets = { accessKeyId: 'sandbox-access-key', secretAccessKey: 'sandbox-secret-key' }

const xml = (code: string, message: string) => `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>sandbox</RequestId></Error>`

/**
 * S3 by an existing server (fauxqs) behind a thin pass-through, which adds faults and objects by size and seed: fauxqs
 * keeps all in memory and takes no more than 11 MiB. Paths pass untouched.
 */
export async function startS3 (options: S3Options = {}): Promise<S3Sandbox> {
  const behind = await startFauxqs({ port: 0, logger: false })
  const faults = new Faults()
  const log: S3LogEntry[] = []
  const access = { refused: false }
  const synthetic = new Map<string, Synthetic & { tag: string }>()

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request
    const path = url.split('?')[0] ?? ''
    const [, bucket = '', ...rest] = path.split('/')
    const key = decodeURIComponent(rest.join('/'))
    const fault = faults.take({ method, path: `/${bucket}/${key}`, action: method })
    const { range } = request.headers
    response.once('close', () => { log.push({ at: Date.now(), method, bucket, key, status: response.statusCode, ...(range === undefined ? {} : { range }) }) })
    const refuse = (status: number, code: string, message: string): void => {
      request.resume()
      response.writeHead(status, { 'Content-Type': 'application/xml' }).end(method === 'HEAD' ? '' : xml(code, message))
    }
    if (fault?.latencyMs !== undefined) await new Promise(resolve => { setTimeout(resolve, fault.latencyMs) })
    if (fault?.reset === 'before') {
      request.socket.destroy()
      return
    }
    if (fault?.hang === 'before') return
    if (access.refused) return refuse(403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.')
    if (fault?.status !== undefined) {
      request.resume()
      response.writeHead(fault.status, { 'Content-Type': 'application/xml', ...fault.headers }).end(fault.body ?? xml(fault.status === 503 ? 'SlowDown' : 'InternalError', 'forced'))
      return
    }
    const made = synthetic.get(`${bucket}/${key}`)
    if (made !== undefined && (method === 'GET' || method === 'HEAD')) return await sendSynthetic(request, response, made, fault)
    if (made !== undefined && (method === 'PUT' || method === 'DELETE')) synthetic.delete(`${bucket}/${key}`)
    pass(request, response, fault)
  }

  function pass (request: IncomingMessage, response: ServerResponse, fault: FaultRule | undefined): void {
    const outgoing = httpRequest({ host: '127.0.0.1', port: behind.port, method: request.method ?? 'GET', path: request.url ?? '/', headers: request.headers })
    outgoing.on('response', incoming => {
      response.writeHead(incoming.statusCode ?? 502, incoming.rawHeaders)
      send(incoming, response, fault).catch(() => { response.destroy() })
    })
    outgoing.on('error', () => { response.destroy() })
    request.pipe(outgoing)
  }

  async function sendSynthetic (request: IncomingMessage, response: ServerResponse, made: Synthetic & { tag: string }, fault: FaultRule | undefined): Promise<void> {
    const { sizeBytes, seed, etag, tag, lastModified } = made
    const wanted = request.headers['if-match']
    if (wanted !== undefined && wanted !== '*' && wanted.replaceAll('"', '') !== tag) {
      response.writeHead(412, { 'Content-Type': 'application/xml' }).end(xml('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold'))
      return
    }
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const start = first === undefined ? 0 : Number(first)
    const end = last === undefined || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1)
    if (first !== undefined && start >= sizeBytes) {
      response.writeHead(416, { 'Content-Type': 'application/xml' }).end(xml('InvalidRange', 'The requested range is not satisfiable'))
      return
    }
    response.writeHead(first === undefined ? 200 : 206, {
      'Content-Length': end - start,
      'Content-Type': 'application/octet-stream',
      ETag: `"${tag}"`,
      'Last-Modified': lastModified.toUTCString(),
      'Accept-Ranges': 'bytes',
      ...(first === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${sizeBytes}` }),
      ...(etag === 'kms' ? { 'x-amz-server-side-encryption': 'aws:kms' } : {})
    })
    if (request.method === 'HEAD') response.end()
    else await send(syntheticBytes(seed, start, end), response, fault)
  }

  const server = createServer((request, response) => { handle(request, response).catch(() => { response.destroy() }) })
  await new Promise<void>(resolve => { server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const client = new S3Client({ endpoint: origin, forcePathStyle: true, region: 'us-east-1', maxAttempts: 1, credentials: secrets, requestChecksumCalculation: 'WHEN_REQUIRED' })
  return {
    origin,
    port,
    log,
    faults,
    access,
    client,
    async createBucket (bucket) { await client.send(new CreateBucketCommand({ Bucket: bucket })) },
    async put (bucket, key, body, more = {}) { await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: typeof body === 'string' ? Buffer.from(body) : body, ...more })) },
    async delete (bucket, key) { await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })) },
    putSynthetic (bucket, key, object) {
      const made = { etag: 'md5' as const, lastModified: new Date(), ...object }
      const tag = syntheticEtag(made)
      synthetic.set(`${bucket}/${key}`, { ...made, tag })
      return tag
    },
    async close () {
      client.destroy()
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
      await behind.stop()
    }
  }
}

/** Sends a body with back-pressure, and breaks it as the fault says. */
async function send (source: Iterable<Buffer> | AsyncIterable<Buffer>, response: ServerResponse, fault: FaultRule | undefined): Promise<void> {
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
