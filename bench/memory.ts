import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres } from '../test/postgres-server.ts'
import type { Print } from './kit/compare.ts'
import { bucket, keyOf, startServers } from './kit/servers.ts'
import { startService, syncAll, type Job, type Service } from './kit/service.ts'

export const name = 'Memory, and a change that overtakes a backlog'

const large = 8
const quietMs = Number(process.env['BENCH_QUIET_SECONDS'] ?? 30) * 1000
const waiting = Number(process.env['BENCH_WAITING'] ?? 100_000)
const recordsPerCall = 1000
const mib = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MiB`

/** Resident memory of the process while large objects stream, and while many jobs wait behind them, on both databases. */
export async function run (print: Print): Promise<void> {
  await measure('embedded', {}, print)
  const server = await startPostgres()
  if (server === undefined) return
  try {
    await measure('PostgreSQL', { DATABASE_URL: server.url }, print)
  } finally {
    await server.stop()
  }
}

async function measure (database: string, env: Record<string, string>, print: Print): Promise<void> {
  const servers = await startServers()
  const first = await startService({ env: { ...servers.env, ...env }, keep: true })
  await servers.s3.call('putRow', { prefix: 'warm', count: 50, sizeBytes: 10_240, etag: 'md5' })
  await first.stop()
  const service = await startService({ env: { ...servers.env, ...env }, dir: first.dir })
  try {
    await syncAll(service, rowOf('warm', 50), { force: true })
    await sleep(quietMs)
    const idle = service.memory().rssBytes
    print(`${database}: idle, after 50 copies and ${quietMs / 1000} s of quiet: ${mib(idle)}.`)
    await peak(service, idle, `${large} objects of 2 GiB at once`, async () => {
      await servers.s3.call('putRow', { prefix: 'large', count: large, sizeBytes: 2 * 1024 ** 3, etag: 'multipart' })
      await syncAll(service, rowOf('large', large), { force: true })
    }, print)
    await peak(service, idle, `${waiting.toLocaleString('en')} jobs that wait behind ${large} slow ones`, async () => {
      await servers.s3.call('putRow', { prefix: 'slow', count: large, sizeBytes: 1024 ** 3, etag: 'multipart' })
      await servers.s3.call('slow', 'slow', 4 * 1024 ** 2)
      await Promise.all(rowOf('slow', large).map(async key => await service.call('POST', '/sync', { bucket, key })))
      for (let from = 0; from < waiting; from += recordsPerCall) await service.call('POST', '/events', eventsOf('waiting', from, Math.min(waiting, from + recordsPerCall)))
    }, print)
    const starts: number[] = []
    for (const key of rowOf('warm', 5)) {
      const { id } = await service.call('POST', '/sync', { bucket, key, force: true }) as Job
      for (;;) {
        const { createdAt, uploadedAt, startedAt } = await service.call('GET', `/jobs/${id}`) as Job
        if (uploadedAt !== undefined && startedAt !== undefined) {
          starts.push(Date.parse(startedAt) - Date.parse(createdAt))
          break
        }
        await sleep(100)
      }
    }
    print(`Meanwhile a change of 10 KB begins after ${Math.round(Math.max(...starts))} ms at most.`)
    print('')
  } finally {
    await service.stop()
    await first.remove()
    await servers.close()
  }
}

const rowOf = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => keyOf(prefix, index))

/** Events for keys that S3 does not hold. */
const eventsOf = (prefix: string, from: number, to: number) => ({
  Records: Array.from({ length: to - from }, (_, index) => ({
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    awsRegion: 'us-east-1',
    eventTime: new Date().toISOString(),
    eventName: 'ObjectCreated:Put',
    s3: { s3SchemaVersion: '1.0', bucket: { name: bucket, arn: `arn:aws:s3:::${bucket}` }, object: { key: keyOf(prefix, from + index), size: 10_240, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: (from + index).toString(16).padStart(16, '0').toUpperCase() } }
  }))
})

async function peak (service: Service, idle: number, what: string, work: () => Promise<void>, print: Print): Promise<void> {
  service.resetPeak()
  await work()
  const { peakBytes } = service.memory()
  print(`With ${what}: ${mib(peakBytes)} at most, ${mib(peakBytes - idle)} above idle.`)
}
