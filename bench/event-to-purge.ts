import { percentile, type Print } from './kit/compare.ts'
import { bucket, keyOf, startServers } from './kit/servers.ts'
import { startService, untilIdle, type Job } from './kit/service.ts'

export const name = 'From the event to the accepted purge'

const count = 300
const perSecond = 20

/** How soon a single change is purged where nothing is waited for: calls at an even pace, PURGE_DELAY_SECONDS=0. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: { ...servers.env, PURGE_BY: 'url' } })
  try {
    await servers.s3.call('putRow', { prefix: 'event', count, sizeBytes: 10_240, etag: 'md5' })
    const ids: string[] = []
    for (let index = 0; index < count; index++) {
      ids.push((await service.call('POST', '/sync', { bucket, key: keyOf('event', index) }) as Job).id)
      await new Promise(resolve => { setTimeout(resolve, 1000 / perSecond) })
    }
    await untilIdle(service)
    const waits: number[] = []
    for (const id of ids.slice(count / 10)) {
      const job = await service.call('GET', `/jobs/${id}`) as Job
      waits.push(Date.parse(job.purgedAt ?? '') - Date.parse(job.createdAt))
    }
    print(`${count} objects of 10 KB, ${perSecond} a second: p50 ${percentile(waits, 0.5)} ms, p99 ${percentile(waits, 0.99)} ms.`)
  } finally {
    await service.stop()
    await servers.close()
  }
}
