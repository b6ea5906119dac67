import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Crowd } from './crowd.ts'
import { bucket, keyOf } from './servers.ts'
import type { Job, Service } from './service.ts'

const seconds = 8
export const asksPerSecond = 50
export const syncsPerSecond = 10
const copies = 200

/** What a window of the same work costs. */
export interface Window { get: number[], sync: number[], told: number[], loopP50Ms: number, loopP99Ms: number, loopMaxMs: number, copiesPerSecond: number, cpuShare: number, messages: number }
/** What the process holds. */
export interface Held { fds: number, rssBytes: number, heapBytes: number, timers: number, streams: number }
/** Asks at an even pace, and counts from the moment a question was due. */
async function pace (perSecond: number, ask: (n: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = []
  const startedAt = performance.now()
  const open: Array<Promise<void>> = []
  for (let n = 0; n < perSecond * seconds; n++) {
    const dueAt = startedAt + n * 1000 / perSecond
    await sleep(Math.max(0, dueAt - performance.now()))
    open.push(ask(n).then(() => { times.push(performance.now() - dueAt) }))
  }
  await Promise.all(open)
  return times
}

/** Does the same work for some seconds, and then copies at full speed; `crowd` hears of it. */
export async function measure (service: Service, crowd: Crowd): Promise<Window> {
  const { items } = await service.call('GET', '/jobs?state=succeeded&limit=200') as { items: Job[] }
  await crowd.heard()
  await scrape(service)
  const cpuBefore = service.cpuMs()
  const startedAt = performance.now()
  const [get, sync] = await Promise.all([
    pace(asksPerSecond, async n => await service.call('GET', `/jobs/${items[n % items.length]?.id}`)),
    pace(syncsPerSecond, async n => await service.call('POST', '/sync', { bucket, key: keyOf('probe', 500 + n), force: true }))
  ])
  const cpuShare = (service.cpuMs() - cpuBefore) / (performance.now() - startedAt)
  const lag = await scrape(service)
  const { messages, lateMs: told } = await crowd.heard()
  return {
    get,
    sync,
    told,
    messages,
    loopP50Ms: 1000 * lag('nodejs_eventloop_lag_p50_seconds'),
    loopP99Ms: 1000 * lag('nodejs_eventloop_lag_p99_seconds'),
    loopMaxMs: 1000 * lag('nodejs_eventloop_lag_max_seconds'),
    cpuShare,
    copiesPerSecond: await copyAll(service)
  }
}

/** How many small objects a second are copied at full speed. */
export async function copyAll (service: Service): Promise<number> {
  const label = `copies-${Date.now()}`
  const startedAt = Date.now()
  const left = Array.from({ length: copies }, (_, index) => keyOf('probe', index))
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let key = left.shift(); key !== undefined; key = left.shift()) await service.call('POST', '/sync', { bucket, key, force: true, labels: [label] })
  }))
  for (;;) {
    const { items } = await service.call('GET', `/jobs?label=${label}&limit=200`) as { items: Job[] }
    const ends = items.map(job => Date.parse(job.finishedAt ?? ''))
    if (ends.every(end => end > 0)) return copies / (Math.max(...ends) - startedAt) * 1000
    await sleep(100)
  }
}

async function scrape (service: Service): Promise<(metric: string) => number> {
  const text = await service.call('GET', '/metrics') as string
  return metric => Number(new RegExp(`^${metric.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
}

/** What the process holds now; `clean` after it has collected its garbage. */
export async function hold (service: Service, clean = true): Promise<Held> {
  if (clean) {
    await sleep(1500)
    for (let n = 0; n < 2; n++) {
      process.kill(service.pid, 'SIGUSR2')
      await sleep(300)
    }
  }
  const value = await scrape(service)
  return {
    fds: readdirSync(`/proc/${service.pid}/fd`).length,
    rssBytes: service.memory().rssBytes,
    heapBytes: value('nodejs_heap_size_used_bytes') + value('nodejs_external_memory_bytes'),
    timers: value('nodejs_active_resources{type="Timeout"}'),
    streams: value('edgeferry_open_streams')
  }
}
