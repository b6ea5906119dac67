import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import type { Cost } from './loop.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { bucket } from './servers.ts'

/** A job, as far as the benchmarks look at it. */
export interface Job { id: string, key: string, state: string, outcome?: string, createdAt: string, startedAt?: string, uploadedAt?: string, purgedAt?: string, finishedAt?: string, error?: { detail: string } }

/** The service as a user starts it, in a process of its own. */
export interface Service {
  pid: number
  origin: string
  dir: string
  call: (method: string, path: string, body?: object) => Promise<unknown>
  /** CPU of the whole process since its start. */
  cpuMs: () => number
  /** Resident memory now and at its highest since the last `resetPeak`. */
  memory: () => { rssBytes: number, peakBytes: number }
  resetPeak: () => void
  stop: () => Promise<void>
  /** Forgets its folder, where it was kept. */
  remove: () => Promise<void>
}

const ticksPerSecond = 100

/** How `npm start` starts it: its environment, and V8's flags. */
const [, variables = '', flags = ''] = /exec env (.*) node (.*) src/.exec(packageJson.scripts.start) as RegExpExecArray
export const startEnv = parseEnv(variables.replaceAll(' ', '\n'))
export const startFlags = flags.split(' ').filter(flag => !flag.startsWith('--env-file'))

async function freePort (): Promise<number> {
  return await new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => { resolve(port) })
    })
  })
}

export interface ServiceOptions { env: Record<string, string>, execArgv?: string[], dir?: string, /** Leaves the folder for another start. */ keep?: boolean }

/** Starts the service on an embedded database in a temporary folder, or what `env` says. */
export async function startService ({ env, execArgv = [], dir: given, keep = false }: ServiceOptions): Promise<Service> {
  const dir = given ?? mkdtempSync(join(tmpdir(), 'edgeferry-bench-'))
  const port = await freePort()
  const child = spawn(process.execPath, [...startFlags, ...execArgv, fileURLToPath(new URL('../../src/server.ts', import.meta.url))], {
    env: { PATH: process.env['PATH'], ...startEnv, ...env, PORT: String(port), DATA_DIR: join(dir, 'data') }, cwd: dir, stdio: ['ignore', 'inherit', 'inherit']
  })
  const origin = `http://127.0.0.1:${port}`
  const agent = new Agent({ keepAlive: true })
  const call: Service['call'] = async (method, path, body) => await new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const outgoing = request(origin + path, { agent, method, headers: text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, answer => {
      let got = ''
      answer.setEncoding('utf8').on('data', chunk => { got += String(chunk) })
      answer.on('end', () => {
        if ((answer.statusCode ?? 500) >= 300) reject(new Error(`${method} ${path} answered ${answer.statusCode}: ${got}`))
        else resolve(got.startsWith('{') ? JSON.parse(got) : got)
      })
    })
    outgoing.on('error', reject)
    outgoing.end(text)
  })
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the service ended with code ${child.exitCode}`)
    if (await call('GET', '/readyz').then(() => true, () => false)) break
    await new Promise(resolve => { setTimeout(resolve, 50) })
  }
  const pid = child.pid as number
  const status = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
  return {
    pid,
    origin,
    dir,
    call,
    cpuMs () {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond * 1000
    },
    memory: () => ({ rssBytes: status('VmRSS'), peakBytes: status('VmHWM') }),
    // 5 resets the high-water mark (proc(5)).
    resetPeak () { writeFileSync(`/proc/${pid}/clear_refs`, '5') },
    async stop () {
      agent.destroy()
      const exited = new Promise(resolve => { child.once('exit', resolve) })
      child.kill('SIGTERM')
      await exited
      if (given === undefined && !keep) rmSync(dir, { recursive: true, force: true })
    },
    async remove () { rmSync(dir, { recursive: true, force: true }) }
  }
}

/** Calls `/sync` for every key, 16 calls at a time, and waits until every job ended. The cost counts from the first call to the last end. */
export async function syncAll (service: Service, keys: string[], more: object = {}): Promise<Cost & { jobs: Job[] }> {
  const cpuBefore = service.cpuMs()
  const startedAt = Date.now()
  const left = [...keys]
  const ids: string[] = []
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let key = left.shift(); key !== undefined; key = left.shift()) ids.push((await service.call('POST', '/sync', { bucket, key, ...more }) as Job).id)
  }))
  await untilIdle(service)
  const cpuMs = service.cpuMs() - cpuBefore
  const jobs = await jobsSince(service, startedAt)
  const mine = jobs.filter(job => ids.includes(job.id))
  const failed = mine.find(job => job.state !== 'succeeded')
  if (failed !== undefined || mine.length !== keys.length) throw new Error(`${failed?.key} is ${failed?.state}: ${failed?.error?.detail}`)
  return { ms: Math.max(...mine.map(job => Date.parse(job.finishedAt ?? ''))) - startedAt, cpuMs, jobs: mine }
}

/** Waits until no job is left to do. */
export async function untilIdle (service: Service): Promise<void> {
  for (;;) {
    const { items } = await service.call('GET', '/jobs?state=queued&state=uploading&state=settling&state=purging&limit=1') as { items: Job[] }
    if (items.length === 0) return
    await new Promise(resolve => { setTimeout(resolve, 100) })
  }
}

async function jobsSince (service: Service, since: number): Promise<Job[]> {
  const jobs: Job[] = []
  let after = ''
  for (;;) {
    const { items, next } = await service.call('GET', `/jobs?limit=200&since=${new Date(since - 1).toISOString()}${after}`) as { items: Job[], next?: string }
    jobs.push(...items)
    if (next === undefined) return jobs
    after = `&after=${next}`
  }
}
