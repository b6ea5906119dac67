import { startPostgres } from '../test/postgres-server.ts'
import { createPurgeClient } from '../src/purge/client.ts'
import { splitObjects } from '../src/purge/batch.ts'
import { PurgeRateLimited } from '../src/purge/failures.ts'
import { client, startServer, startServers, type Answer, type Server } from './kit/servers.ts'
import { startService, untilIdle, type Service } from './kit/service.ts'
import type { Print } from './kit/compare.ts'

export const name = '30,000 URLs thrown in at once'

const count = Number(process.env['BENCH_PURGES'] ?? 30_000)
const budget = 0.95
/** The account's limits as Akamai documents them, and as the emulator keeps them. */
const limit = { size: 10_000, perSecond: 200 }
const perCall = 100
/** When the urgent purge is asked for: the burst is over, most of the rest waits. */
const urgentAfterMs = 10_000
const urgentUrl = 'https://www.example.com/urgent.css'

const urlOf = (index: number) => `https://www.example.com/assets/some/folder/of/the/site/object-number-${String(index).padStart(8, '0')}.css`
const sleep = async (ms: number) => { await new Promise(resolve => { setTimeout(resolve, ms) }) }

/**
 * Through two replicas on one PostgreSQL (one on the embedded database where there is none), against the limit of the
 * token buckets and beside a loop that does what Akamai advises: full bodies, and five seconds after each 429.
 */
export async function run (print: Print): Promise<void> {
  const [servers, other, database] = await Promise.all([startServers(), startServer('fastPurge'), startPostgres()])
  const env = { ...servers.env, PURGE_BUDGET: String(budget), ...(database === undefined ? {} : { DATABASE_URL: database.url }) }
  const replicas = await Promise.all(Array.from({ length: database === undefined ? 1 : 2 }, async () => await startService({ env })))
  try {
    const [ours, loop] = await Promise.all([throughReplicas(replicas, servers.fastPurge), adviceLoop(other)])
    print('| | accepted after | of the limit | requests (full bodies, then one a second) | 413 | 429 |')
    print('|---|---|---|---|---|---|')
    print(show(`edgeferry, ${replicas.length} replica${replicas.length === 1 ? '' : 's'}, PURGE_BUDGET=${budget}`, ours, budget))
    print(show('a loop that waits five seconds after each 429', loop, 1))
    print(`\nAn urgent purge behind ${ours.behind} others was accepted after ${(ours.urgentMs / 1000).toFixed(2)} s; all jobs had succeeded ${(ours.idleMs / 1000).toFixed(1)} s after the last answer.`)
  } finally {
    await Promise.all(replicas.map(async replica => { await replica.stop() }))
    await Promise.all([servers.close(), other.close(), database?.stop()])
  }
}

interface Result { answers: Answer[], startedAt: number }

function show (name: string, { answers, startedAt }: Result, share: number): string {
  const accepted = answers.filter(each => each.status === 201)
  const seconds = (Math.max(...accepted.map(each => each.at)) - startedAt) / 1000
  const objects = accepted.reduce((sum, each) => sum + each.count, 0)
  const allowed = share * (limit.size + limit.perSecond * seconds)
  const full = splitObjects(Array.from({ length: share * limit.size }, (_, index) => urlOf(index))).batches.length
  const expected = full + Math.ceil(seconds - 1)
  const having = (status: number) => answers.filter(each => each.status === status).length
  return `| ${name} | ${seconds.toFixed(1)} s | ${(100 * objects / allowed).toFixed(1)} % | ${answers.length} (${expected}) | ${having(413)} | ${having(429)} |`
}

async function throughReplicas (replicas: Service[], fastPurge: Server): Promise<Result & { urgentMs: number, behind: number, idleMs: number }> {
  const startedAt = Date.now()
  const calls = Array.from({ length: Math.ceil(count / perCall) }, (_, call) => Array.from({ length: perCall }, (_, index) => urlOf(call * perCall + index)))
  const ids = await Promise.all(calls.map(async (urls, call) => (await (replicas[call % replicas.length] as Service).call('POST', '/purge', { urls }) as { id: string }).id))
  const done = async () => (await fastPurge.call('answers')).filter(each => each.status === 201).reduce((sum, each) => sum + each.count, 0)
  await sleep(Math.max(0, startedAt + urgentAfterMs - Date.now()))
  const behind = ids.length * perCall - await done()
  const [first] = replicas as [Service]
  const urgentAt = Date.now()
  const { id } = await first.call('POST', '/purge', { urls: [urgentUrl] }) as { id: string }
  const urgentMs = await acceptedAt(first, id) - urgentAt
  while (await done() < count + 1) await sleep(200)
  const answers = await fastPurge.call('answers')
  const last = Date.now()
  await untilIdle(first)
  return { answers, startedAt, urgentMs, behind, idleMs: Date.now() - last }
}

async function acceptedAt (service: Service, id: string): Promise<number> {
  for (;;) {
    const { purgedAt } = await service.call('GET', `/jobs/${id}`) as { purgedAt?: string }
    if (purgedAt !== undefined) return Date.parse(purgedAt)
    await sleep(20)
  }
}

async function adviceLoop (fastPurge: Server): Promise<Result> {
  const startedAt = Date.now()
  const sender = createPurgeClient({ ...client, host: fastPurge.origin })
  const { batches } = splitObjects(Array.from({ length: count }, (_, index) => urlOf(index)))
  for (const objects of batches) {
    const send = async () => await sender.send({ action: 'invalidate', type: 'url', network: 'production', objects })
    for (;;) {
      const answer = await send().catch((error: unknown) => error)
      if (!(answer instanceof Error)) break
      if (!(answer instanceof PurgeRateLimited)) throw answer
      await sleep(5000)
    }
  }
  return { answers: await fastPurge.call('answers'), startedAt }
}
