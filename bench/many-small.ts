import { heading, interleave, row, type Print } from './kit/compare.ts'
import { runLoop } from './kit/loop.ts'
import { rcloneVersion, runRclone } from './kit/rclone.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, syncAll } from './kit/service.ts'

export const name = '2,000 objects of 10 KB'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const count = 2000
const concurrency = 8

/**
 * Many small objects through the durable queue, from the first call to the last verified copy: for the first time, when
 * what will lie at a path must be written down before it can lie there, and once more over what lies there. A first row
 * that is not counted warms the service up, as one that runs for a while is.
 */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: { ...servers.env, UPLOAD_CONCURRENCY: String(concurrency) } })
  try {
    const putRow = async (prefix: string) => {
      await servers.s3.call('putRow', { prefix, count, sizeBytes: 10_240, etag: 'md5' })
      return Array.from({ length: count }, (_, index) => keyOf(prefix, index))
    }
    const rows: string[][] = []
    for (let round = 0; round < rounds; round++) rows.push(await putRow(`small-${round}`))
    const keysOf = (round: number) => rows[round] as string[]
    await syncAll(service, await putRow('warm'))
    const costs = await interleave(rounds, {
      first: async round => await syncAll(service, keysOf(round)),
      limit: async round => await runLoop('sdk', { s3: servers.s3.origin, netstorage: servers.netstorage.origin, keys: keysOf(round), concurrency, into: `bare-${round}` }),
      rclone: async round => await runRclone(servers, `small-${round}`, `rclone-${round}`, concurrency),
      again: async round => await syncAll(service, keysOf(round), { force: true })
    })
    for (const line of heading) print(line)
    print(row('bare loop by the AWS SDK: GET, PUT, stat', costs.limit, costs.limit, 'per 1,000', count / 1000))
    print(row('edgeferry, through the durable queue', costs.first, costs.limit, 'per 1,000', count / 1000))
    print(row('edgeferry, once more over what lies there', costs.again, costs.limit, 'per 1,000', count / 1000))
    print(row(`rclone copy ${rcloneVersion()}`, costs.rclone, costs.limit, 'per 1,000', count / 1000))
  } finally {
    await service.stop()
    await servers.close()
  }
}
