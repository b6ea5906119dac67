import { fork } from 'node:child_process'
import { Agent, get, request, type IncomingMessage, type RequestOptions } from 'node:http'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { actionHeader, encodePath, sign } from '../../src/netstorage/auth.ts'
import { account, bucket, cpCode } from './servers.ts'

/** What a run took: wall clock, and the CPU of the copying side alone. */
export interface Cost { ms: number, cpuMs: number }

/** Which objects, from where to where, and how many at once. */
export interface Route { s3: string, netstorage: string, keys: string[], into: string, concurrency: number }

/**
 * The limit: what a bare Node loop takes. `pipe` pipes GET to PUT and looks at nothing; `sdk` reads by the AWS SDK,
 * sends size and MD5 along and asks `stat` afterwards.
 */
export async function runLoop (kind: 'pipe' | 'sdk', route: Route): Promise<Cost> {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  return await new Promise((resolve, reject) => {
    child.once('message', (cost: Cost) => { resolve(cost) })
    child.once('exit', code => { reject(new Error(`the loop ended with code ${code}`)) })
    child.send({ kind, route })
  })
}

const agent = new Agent({ keepAlive: true })

function signed (origin: string, wirePath: string, params: Record<string, string | number>): RequestOptions {
  const { hostname, port } = new URL(origin)
  const action = actionHeader(params)
  return { agent, hostname, port, path: wirePath, headers: { ...sign({ ...account, wirePath, action, nowSeconds: Math.floor(Date.now() / 1000), uniqueId: String(Math.random()) }) } }
}

const answered = async (start: (take: (answer: IncomingMessage) => void) => { once: (event: 'error', listener: (error: Error) => void) => unknown }) =>
  await new Promise<IncomingMessage>((resolve, reject) => { start(resolve).once('error', reject) })

async function read (answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += String(chunk)
  if (answer.statusCode !== 200) throw new Error(`answered ${answer.statusCode}: ${text}`)
  return text
}

async function put (netstorage: string, name: string, body: Readable, sizeBytes: number, params: Record<string, string | number>): Promise<void> {
  const options = signed(netstorage, name, { action: 'upload', ...params })
  await read(await answered(take => body.pipe(request({ ...options, method: 'PUT', headers: { ...options.headers as object, 'Content-Length': sizeBytes } }, take))))
}

const target = (route: Route, key: string) => `/${cpCode}/${encodePath(`${route.into}/${key}`)}`

async function pipeOne (route: Route, key: string): Promise<void> {
  const source = await answered(take => get(`${route.s3}/${bucket}/${encodePath(key)}`, { agent }, take))
  await put(route.netstorage, target(route, key), source, Number(source.headers['content-length']), {})
}

function createSdkOne (route: Route) {
  const client = new S3Client({ endpoint: route.s3, forcePathStyle: true, region: 'us-east-1', credentials: { accessKeyId: 'sandbox-access-key', secretAccessKey: 'sandbox-secret-key' }, requestHandler: { httpAgent: agent } })
  return async (_: Route, key: string) => {
    const { Body, ContentLength: size = 0, ETag = '' } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
    const md5 = ETag.replaceAll('"', '')
    const name = target(route, key)
    await put(route.netstorage, name, Body as Readable, size, { size, md5 })
    const seen = await read(await answered(take => get(signed(route.netstorage, name, { action: 'stat', format: 'xml', encoding: 'utf-8' }), take)))
    if (!seen.includes(`md5="${md5}"`)) throw new Error(`stat shows another MD5 for ${key}`)
  }
}

async function serve (kind: 'pipe' | 'sdk', route: Route): Promise<Cost> {
  const one = kind === 'pipe' ? pipeOne : createSdkOne(route)
  const keys = [...route.keys]
  const startedAt = performance.now()
  const cpuBefore = process.cpuUsage()
  await Promise.all(Array.from({ length: route.concurrency }, async () => {
    for (let key = keys.shift(); key !== undefined; key = keys.shift()) await one(route, key)
  }))
  const { user, system } = process.cpuUsage(cpuBefore)
  return { ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', ({ kind, route }: { kind: 'pipe' | 'sdk', route: Route }) => {
    serve(kind, route).then(cost => { process.send?.(cost, () => { process.exit(0) }) }, error => { throw error })
  })
}
