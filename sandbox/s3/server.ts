import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CreateBucketCommand, DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { startFauxqs } from 'fauxqs'
import { Faults, type FaultRule } from '../kit/faults.ts'
import { errorXml, refuse } from './answer.ts'
import { listObjects } from './listing.ts'
import { Notifications } from './notifications/notifications.ts'
import { operationOf, targetOf, type Target } from './operation.ts'
import { Behind, send } from './pass.ts'
import { syntheticBytes, syntheticEtag, type Synthetic } from './synthetic.ts'
import { Versions } from './versions.ts'
import { Writes } from './writes.ts'

export interface S3Options {
  port?: number
  host?: string
  /** Epoch milliseconds, for notifications. */
  now?: () => number
  /** For the mishaps of notifications. */
  seed?: number
}

/** One request as it was answered. */
export interface S3LogEntry { at: number, method: string, bucket: string, key: string, status: number, range?: string }

export interface S3Sandbox {
  origin: string
  port: number
  log: S3LogEntry[]
  faults: Faults
  /** Set `refused` to make every request look like one with wrong credentials. */
  access: { refused: boolean }
  /** Tell it with `configure` who wants to hear of changes. */
  notifications: Notifications
  client: S3Client
  createBucket: (bucket: string) => Promise<void>
  /** For good; objects by size and seed have no versions. */
  enableVersioning: (bucket: string) => Promise<void>
  put: (bucket: string, key: string, body: string | Uint8Array, more?: Partial<PutObjectCommandInput>) => Promise<void>
  delete: (bucket: string, key: string) => Promise<void>
  /** An object by size and seed; it wins over a stored one of the same name. Returns its ETag. */
  putSynthetic: (bucket: string, key: string, object: Omit<Synthetic, 'lastModified' | 'etag'> & Partial<Synthetic>) => string
  close: () => Promise<void>
}

const secrets = { accessKeyId: 'sandbox-access-key', secretAccessKey: 'sandbox-secret-key' }

/**
 * S3 by an existing server (fauxqs) behind a thin pass-through, which adds faults, notifications, versions, and objects
 * by size and seed: fauxqs keeps all in memory and takes no more than 11 MiB. Paths pass untouched.
 */
export async function startS3 (options: S3Options = {}): Promise<S3Sandbox> {
  const fauxqs = await startFauxqs({ port: 0, logger: false })
  const behind = new Behind(fauxqs.port)
  const faults = new Faults()
  const log: S3LogEntry[] = []
  const access = { refused: false }
  const synthetic = new Map<string, Synthetic & { tag: string }>()
  const notifications = new Notifications(options.now ?? Date.now, options.seed ?? 1)
  const versions = new Versions(behind)
  const writes = new Writes({ behind, versions, notifications, dropSynthetic: (bucket, key) => synthetic.delete(`${bucket}/${key}`) })

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request
    const target = targetOf(url)
    const { bucket, key } = target
    const fault = faults.take({ method, path: `/${bucket}/${key}`, action: method })
    const { range } = request.headers
    response.once('close', () => { log.push({ at: Date.now(), method, bucket, key, status: response.statusCode, ...(range === undefined ? {} : { range }) }) })
    if (fault?.latencyMs !== undefined) await new Promise(resolve => { setTimeout(resolve, fault.latencyMs) })
    await fault?.until
    if (fault?.reset === 'before') {
      request.socket.destroy()
      return
    }
    if (fault?.hang === 'before') return
    if (access.refused) return refuse(request, response, 403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.')
    if (fault?.status !== undefined) {
      request.resume()
      response.writeHead(fault.status, { 'Content-Type': 'application/xml', ...fault.headers }).end(fault.body ?? errorXml(fault.status === 503 ? 'SlowDown' : 'InternalError', 'forced'))
      return
    }
    // Below a prefix where there are synthetic objects, a listing shows those.
    const listing = method === 'GET' && key === '' && target.query.get('list-type') === '2' ? listObjects(bucket, synthetic, target.query) : undefined
    if (listing !== undefined) {
      response.writeHead(200, { 'Content-Type': 'application/xml' }).end(listing)
      return
    }
    const operation = operationOf(request, target)
    const made = synthetic.get(`${bucket}/${key}`)
    if (made !== undefined && operation === 'read') return await sendSynthetic(request, response, made, fault)
    if (operation === 'read' && versions.isOn(bucket)) return await readVersion(target, request, response, fault)
    if (operation === 'put-versioning') return await putVersioning(bucket, request, response)
    if (Writes.covers(operation)) return await writes.answer(operation, target, request, response, fault)
    await behind.pass(request, response, { fault })
  }

  async function putVersioning (bucket: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    if (!Buffer.concat(chunks).includes('<Status>Enabled</Status>')) return refuse(request, response, 501, 'NotImplemented', 'versioning can only be turned on')
    await versions.enable(bucket)
    response.writeHead(200).end()
  }

  async function readVersion ({ bucket, key, query }: Target, request: IncomingMessage, response: ServerResponse, fault: FaultRule | undefined): Promise<void> {
    const asked = query.get('versionId')
    const newest = versions.newest(bucket, key)
    if (asked === null) {
      const about: Record<string, string> = newest === undefined ? {} : { 'x-amz-version-id': newest.id, ...(newest.isMarker ? { 'x-amz-delete-marker': 'true' } : {}) }
      return await behind.pass(request, response, { fault, answered: () => about })
    }
    const found = versions.find(bucket, key, asked)
    if (found === undefined) return refuse(request, response, 404, 'NoSuchVersion', 'The specified version does not exist.')
    if (found === 'marker') return refuse(request, response, 405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.', { 'x-amz-delete-marker': 'true', 'x-amz-version-id': asked })
    await behind.pass(request, response, { fault, path: found.path, answered: () => ({ 'x-amz-version-id': asked }) })
  }

  async function sendSynthetic (request: IncomingMessage, response: ServerResponse, made: Synthetic & { tag: string }, fault: FaultRule | undefined): Promise<void> {
    const { sizeBytes, seed, etag, tag, lastModified } = made
    const wanted = request.headers['if-match']
    if (wanted !== undefined && wanted !== '*' && wanted.replaceAll('"', '') !== tag) return refuse(request, response, 412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold')
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const start = first === undefined ? 0 : Number(first)
    const end = last === undefined || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1)
    if (first !== undefined && start >= sizeBytes) return refuse(request, response, 416, 'InvalidRange', 'The requested range is not satisfiable')
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

  // Clients of ours pause between two requests; what a closed connection does to them is for the faults to say.
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => { handle(request, response).catch(() => { response.destroy() }) })
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
    notifications,
    client,
    async createBucket (bucket) { await client.send(new CreateBucketCommand({ Bucket: bucket })) },
    async enableVersioning (bucket) { await client.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } })) },
    async put (bucket, key, body, more = {}) { await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: typeof body === 'string' ? Buffer.from(body) : body, ...more })) },
    async delete (bucket, key) { await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })) },
    putSynthetic (bucket, key, object) {
      const made = { etag: 'md5' as const, lastModified: new Date(), ...object }
      const tag = syntheticEtag(made)
      synthetic.set(`${bucket}/${key}`, { ...made, tag })
      notifications.changed({ name: made.etag === 'multipart' ? 'ObjectCreated:CompleteMultipartUpload' : 'ObjectCreated:Put', bucket, key, sizeBytes: made.sizeBytes, etag: tag })
      return tag
    },
    async close () {
      await notifications.close()
      client.destroy()
      behind.close()
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
      await fauxqs.stop()
    }
  }
}
