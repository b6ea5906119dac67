import { heading, interleave, row, type Print } from './kit/compare.ts'
import { runLoop } from './kit/loop.ts'
import { rcloneVersion, runRclone } from './kit/rclone.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, syncAll } from './kit/service.ts'

export const name = '2,000 objects of 10 KB'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
const count = 2000
const concurrency = 8

/** Many small objects through the durable queue, from the first call to the last verified copy; then how soon a single change is purged. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: { ...servers.env, UPLOAD_CONCURRENCY: String(concurrency) } })
  try {
    await servers.s3.call('putRow', { prefix: 'small', count, sizeBytes: 10_240, etag: 'md5' })
    const keys = Array.from({ length: count }, (_, index) => keyOf('small', index))
    const route = { s3: servers.s3.origin, netstorage: servers.netstorage.origin, keys, concurrency }
    const costs = await interleave(rounds, {
      limit: async round => await runLoop('sdk', { ...route, into: `bare-${round}` }),
      ours: async () => await syncAll(service, keys, { force: true }),
      rclone: async round => await runRclone(servers, 'small', `rclone-${round}`, concurrency)
    })
    for (const line of heading) print(line)
    print(row('bare loop by the AWS SDK: GET, PUT, stat', costs.limit, costs.limit, 'per 1,000', count / 1000))
    print(row('edgeferry, through the durable queue', costs.ours, costs.limit, 'per 1,000', count / 1000))
    print(row(`rclone copy ${rcloneVersion()}`, costs.rclone, costs.limit, 'per 1,000', count / 1000))
  } finally {
    await service.stop()
    await servers.close()
  }
}
