import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startFastPurge } from '../../sandbox/fast-purge/server.ts'
import { startNetStorage } from '../../sandbox/netstorage/server.ts'
import { startS3 } from '../../sandbox/s3/server.ts'

/** The bucket all objects lie in. */
export const bucket = 'example-assets'
/** The one upload directory, and the account that may write to it. */
export const cpCode = 123456
export const account = { keyName: 'bench-upload', key: 'bench-netstorage-key', cpCodes: [cpCode] }
export const client = { clientToken: 'bench-client-token', clientSecret: 'bench-client-secret', accessToken: 'bench-access-token' }

/** A row of equal objects: `prefix` and a number. */
export interface Row { prefix: string, count: number, sizeBytes: number, etag: 'md5' | 'multipart' }

/** The key of one object of a row. */
export const keyOf = (prefix: string, index: number) => `${prefix}/${String(index).padStart(6, '0')}.bin`

/** How Fast Purge answered a request. */
export interface Answer { at: number, status: number, count: number, last: unknown }

interface Methods {
  putRow: (row: Row) => void
  /** All that is read below a prefix comes at this pace. */
  slow: (prefix: string, bytesPerSecond: number) => void
  /** How many objects lie below a prefix on NetStorage. */
  stored: (prefix: string) => number
  /** Requests since the last call, by action and status. */
  requests: () => Record<string, number>
  /** Every answer of Fast Purge so far. */
  answers: () => Answer[]
}
type Kind = keyof typeof kinds
interface Ask { id: number, method: keyof Methods, args: unknown[] }
interface Reply { id: number, result?: unknown, error?: string }

/** An emulator in a process of its own, so that it takes no time from what is measured. */
export interface Server {
  origin: string
  pid: number
  call: <M extends keyof Methods>(method: M, ...args: Parameters<Methods[M]>) => Promise<ReturnType<Methods[M]>>
  close: () => Promise<void>
}

const kinds = {
  async s3 () {
    const server = await startS3()
    await server.createBucket(bucket)
    return {
      server,
      methods: {
        slow (prefix: string, bytesPerSecond: number) {
          server.faults.add({ match: { path: new RegExp(`^/${bucket}/${prefix}/`) }, slow: { bytesPerSecond } })
        },
        putRow ({ prefix, count, sizeBytes, etag }: Row) {
          for (let index = 0; index < count; index++) server.putSynthetic(bucket, keyOf(prefix, index), { sizeBytes, seed: index % 8, etag })
        }
      }
    }
  },
  async netstorage () {
    const server = await startNetStorage({ accounts: [account], keepBodiesUpTo: 0 })
    return {
      server,
      methods: {
        stored: (prefix: string) => server.store.names(`/${cpCode}/${prefix}/`).filter(name => !name.endsWith('/')).length,
        requests () {
          const counts: Record<string, number> = {}
          for (const { action, status } of server.log.splice(0)) counts[`${action} ${status}`] = (counts[`${action} ${status}`] ?? 0) + 1
          return counts
        }
      }
    }
  },
  async fastPurge () {
    const server = await startFastPurge({ clients: [client], hosts: ['www.example.com'] })
    return { server, methods: { answers: () => server.log.map(({ at, status, objects = [] }) => ({ at, status, count: objects.length, last: objects.at(-1) })) } }
  }
}

/** Starts one emulator; it ends with its parent. */
export async function startServer (kind: Kind): Promise<Server> {
  const child = fork(fileURLToPath(import.meta.url), [kind], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: ['--max-semi-space-size=32'] })
  const pending = new Map<number, { resolve: (value: never) => void, reject: (error: Error) => void }>()
  let last = 0
  const exited = new Promise<void>(resolve => { child.once('exit', () => { resolve() }) })
  const origin = await new Promise<string>((resolve, reject) => {
    child.once('exit', code => { reject(new Error(`the ${kind} emulator ended with code ${code}`)) })
    child.on('message', (reply: Reply | { origin: string }) => {
      if ('origin' in reply) return resolve(reply.origin)
      const waiting = pending.get(reply.id)
      pending.delete(reply.id)
      if (reply.error === undefined) waiting?.resolve(reply.result as never)
      else waiting?.reject(new Error(reply.error))
    })
  })
  return {
    origin,
    pid: child.pid as number,
    call: async (method, ...args) => await new Promise<never>((resolve, reject) => {
      const id = ++last
      pending.set(id, { resolve, reject })
      child.send({ id, method, args } satisfies Ask)
    }),
    async close () {
      child.disconnect()
      await exited
    }
  }
}

/** S3, NetStorage and Fast Purge, each in its own process, and what points a service at them. */
export async function startServers () {
  const [s3, netstorage, fastPurge] = await Promise.all([startServer('s3'), startServer('netstorage'), startServer('fastPurge')])
  return {
    s3,
    netstorage,
    fastPurge,
    env: {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'sandbox-access-key',
      AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key',
      AWS_ENDPOINT_URL_S3: s3.origin,
      S3_BUCKETS: bucket,
      NS_HOSTNAME: netstorage.origin,
      NS_KEYNAME: account.keyName,
      NS_KEY: account.key,
      NS_CP: String(cpCode),
      AO_API_HOST: fastPurge.origin,
      AO_CLIENT_TOKEN: client.clientToken,
      AO_CLIENT_SECRET: client.clientSecret,
      AO_ACCESS_TOKEN: client.accessToken,
      PURGE_URLS: 'https://www.example.com/{key}',
      PURGE_BY: 'none',
      PURGE_DELAY_SECONDS: '0',
      PURGE_REPEAT_SECONDS: '0',
      NS_WRITES_PER_SECOND: '1000000',
      NS_READS_PER_SECOND: '1000000',
      LOG_LEVEL: 'warn'
    },
    async close () {
      await Promise.all([s3.close(), netstorage.close(), fastPurge.close()])
    }
  }
}

export type Servers = Awaited<ReturnType<typeof startServers>>

/** The child's side: one emulator that answers until its parent goes away. */
async function serve (kind: Kind): Promise<void> {
  const { server, methods } = await kinds[kind]()
  process.on('message', ({ id, method, args }: Ask) => {
    Promise.resolve().then(() => ((methods as Partial<Methods>)[method] as (...args: unknown[]) => unknown)(...args)).then(
      result => process.send?.({ id, result } satisfies Reply),
      (error: Error) => process.send?.({ id, error: error.message } satisfies Reply))
  })
  process.once('disconnect', () => { process.exit(0) })
  process.send?.({ origin: server.origin })
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) await serve(process.argv[2] as Kind)
