import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startSandbox } from './sandbox.ts'
import type { Synthetic } from './s3/synthetic.ts'
import type { DeliveryLogEntry } from './sns/delivery/courier.ts'

/** What the parent may ask of a sandbox in a process of its own. */
interface Methods {
  put: (bucket: string, key: string, body: string) => Promise<void>
  delete: (bucket: string, key: string) => Promise<void>
  putSynthetic: (bucket: string, key: string, object: { sizeBytes: number, seed: number, etag: Synthetic['etag'] }) => string
  object: (name: string) => { sizeBytes: number, md5: string, sha256: string } | undefined
  uploads: () => Array<{ action: string, name: string, status: number, startedAt: number, finishedAt: number }>
  /** Resolves when the service has confirmed. */
  subscribe: (serviceOrigin: string) => Promise<void>
  deliveries: () => DeliveryLogEntry[]
  /** Resolves when no event and no message is on its way. */
  idle: () => Promise<void>
  purges: () => Array<{ at: number, action?: string, objects?: Array<string | number>, purgeId?: string }>
}
interface Ask { id: number, method: keyof Methods, args: unknown[] }
type Reply = { id: number, result?: unknown, error?: string } | { ready: Record<string, string> }

/** A sandbox in a process of its own, so that it takes no time from what it is there to test. */
export interface SandboxProcess {
  env: Record<string, string>
  call: <M extends keyof Methods>(method: M, ...args: Parameters<Methods[M]>) => Promise<Awaited<ReturnType<Methods[M]>>>
  close: () => Promise<void>
}

/** Starts it on free ports; it ends with its parent. */
export async function startSandboxProcess (): Promise<SandboxProcess> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const pending = new Map<number, { resolve: (value: never) => void, reject: (error: Error) => void }>()
  let last = 0
  const exited = new Promise<void>(resolve => { child.once('exit', () => { resolve() }) })
  const env = await new Promise<Record<string, string>>((resolve, reject) => {
    child.once('exit', code => { reject(new Error(`the sandbox ended with code ${code}`)) })
    child.on('message', (reply: Reply) => {
      if ('ready' in reply) return resolve(reply.ready)
      const waiting = pending.get(reply.id)
      pending.delete(reply.id)
      if (reply.error === undefined) waiting?.resolve(reply.result as never)
      else waiting?.reject(new Error(reply.error))
    })
  })
  return {
    env,
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

/** The child's side: a sandbox that answers until its parent goes away. */
async function serve (): Promise<void> {
  const sandbox = await startSandbox()
  const methods: Methods = {
    put: sandbox.s3.put,
    delete: sandbox.s3.delete,
    putSynthetic: sandbox.s3.putSynthetic,
    object (name) {
      const found = sandbox.netstorage.store.get(name)
      return found === undefined ? undefined : { sizeBytes: found.sizeBytes, md5: found.md5, sha256: found.sha256 }
    },
    uploads: () => sandbox.netstorage.log,
    subscribe: async serviceOrigin => { await sandbox.subscribe(serviceOrigin).confirmed },
    deliveries: () => sandbox.sns.log,
    idle: sandbox.idle,
    purges: sandbox.fastPurge.purges
  }
  process.on('message', ({ id, method, args }: Ask) => {
    const run = methods[method] as (...args: unknown[]) => unknown
    Promise.resolve().then(async () => await run(...args)).then(
      result => process.send?.({ id, result } satisfies Reply),
      (error: Error) => process.send?.({ id, error: error.message } satisfies Reply))
  })
  process.once('disconnect', () => { sandbox.close().then(() => { process.exit(0) }) })
  // Ctrl-C reaches the whole group; the parent decides when this ends.
  process.on('SIGINT', () => {})
  process.send?.({ ready: sandbox.env } satisfies Reply)
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) await serve()
