import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { embedded } from '../src/store/embedded.ts'
import { postgres } from '../src/store/postgres.ts'
import type { Store } from '../src/store/store.ts'
import { startPostgres } from '../test/postgres-server.ts'
import { percentile, type Print } from './kit/compare.ts'
import { makeHistory, pastId, pastKey, pastTime } from './kit/history.ts'
import { bucket, keyOf, startServers, type Servers } from './kit/servers.ts'
import { startService, untilIdle, type Service } from './kit/service.ts'

export const name = 'Lists with a million jobs, beside a busy worker'

const jobs = Number(process.env['BENCH_JOBS'] ?? 1_000_000)
const perSecond = 100
const seconds = 30
const limitMs = 50
/** What the worker copies meanwhile: so many calls are always open. */
const busyCalls = 4

const log = { info () {}, warn () {}, error: console.error }
const some = (below: number) => 1 + Math.floor(Math.random() * below)

/** What operators and programs ask for, all equally often. */
const questions: Record<string, () => string> = {
  'newest jobs': () => '/jobs',
  'a page far back': () => `/jobs?limit=200&after=${Buffer.from(pastId(some(jobs))).toString('base64url')}`,
  'failed jobs': () => '/jobs?state=failed',
  'failed jobs below a prefix': () => `/jobs?state=failed&prefix=folder-${1000 * some(2) - 1000}/`,
  'jobs of a prefix': () => `/jobs?bucket=${bucket}&prefix=folder-${some(2000)}/`,
  'jobs of a key': () => `/jobs?bucket=${bucket}&key=${pastKey(some(jobs))}`,
  'jobs of a label': () => `/jobs?label=release-${some(jobs / 1000) - 1}`,
  'jobs of an hour': () => { const n = some(jobs - 3600); return `/jobs?since=${pastTime(n)}&until=${pastTime(n + 3600)}&kind=purge` },
  'where an object is': () => `/objects?bucket=${bucket}&key=${pastKey(some(jobs))}`
}

/** How soon lists come, 100 a second whatever comes back, on both databases. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const server = await startPostgres()
  const dir = mkdtempSync(join(tmpdir(), 'edgeferry-bench-'))
  print('| database | asked for | p50 | p99 | of the limit of 50 ms |')
  print('|---|---|---|---|---|')
  try {
    await servers.s3.call('putRow', { prefix: 'busy', count: 2000, sizeBytes: 10_240, etag: 'md5' })
    await measure('embedded', await embedded({ dir: join(dir, 'data'), log }), servers, { dir, env: {} }, print)
    if (server !== undefined) await measure('PostgreSQL', await postgres({ url: server.url, log }), servers, { dir, env: { DATABASE_URL: server.url } }, print)
  } finally {
    await server?.stop()
    await servers.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measure (database: string, store: Store, servers: Servers, { dir, env }: { dir: string, env: Record<string, string> }, print: Print): Promise<void> {
  await makeHistory(store, jobs, bucket)
  await store.close()
  const service = await startService({ dir, env: { ...servers.env, PURGE_BY: 'url', ...env } })
  try {
    const busy = { goesOn: true, copies: 0 }
    const work = Promise.all(Array.from({ length: busyCalls }, async (_, n) => {
      for (let index = n; busy.goesOn; index = (index + busyCalls) % 2000) {
        await service.call('POST', '/sync', { bucket, key: keyOf('busy', index), force: true })
        await new Promise(resolve => { setTimeout(resolve, 50) })
        busy.copies++
      }
    }))
    const waits = await ask(service)
    busy.goesOn = false
    await work
    await untilIdle(service)
    const all = [...waits.values()].flat()
    const line = (what: string, times: number[]) => { print(`| ${database} | ${what} | ${percentile(times, 0.5).toFixed(1)} ms | ${percentile(times, 0.99).toFixed(1)} ms | ${(percentile(times, 0.99) / limitMs).toFixed(2)} |`) }
    for (const [what, times] of waits) line(what, times)
    line(`**all, beside ${Math.round(busy.copies / seconds)} copies a second**`, all)
  } finally {
    await service.stop()
  }
}

/** Asks at an even pace, and counts from the moment a question was due: a slow answer cannot put off the next. */
async function ask (service: Service): Promise<Map<string, number[]>> {
  const names = Object.keys(questions)
  const waits = new Map<string, number[]>(names.map(name => [name, []]))
  const startedAt = performance.now()
  const open: Array<Promise<void>> = []
  for (let n = 0; n < perSecond * seconds; n++) {
    const dueAt = startedAt + n * 1000 / perSecond
    const earlyMs = dueAt - performance.now()
    if (earlyMs > 0) await new Promise(resolve => { setTimeout(resolve, earlyMs) })
    const name = names[n % names.length] as string
    open.push(service.call('GET', (questions[name] as () => string)()).then(() => { waits.get(name)?.push(performance.now() - dueAt) }))
  }
  await Promise.all(open)
  return waits
}
