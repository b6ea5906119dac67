import { heading, interleave, row, type Print } from './kit/compare.ts'
import { runLoop } from './kit/loop.ts'
import { rcloneVersion, runRclone } from './kit/rclone.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, syncAll } from './kit/service.ts'

export const name = '200 objects of 4 MiB'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
const count = 200
const concurrency = 8
const sizeBytes = 4 * 1024 * 1024
const gib = count * sizeBytes / 1024 ** 3

/** Objects of a usual size for assets of the web, eight at a time. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: { ...servers.env, UPLOAD_CONCURRENCY: String(concurrency) } })
  try {
    await servers.s3.call('putRow', { prefix: 'medium', count, sizeBytes, etag: 'md5' })
    const keys = Array.from({ length: count }, (_, index) => keyOf('medium', index))
    const route = { s3: servers.s3.origin, netstorage: servers.netstorage.origin, keys, concurrency }
    const costs = await interleave(rounds, {
      limit: async round => await runLoop('pipe', { ...route, into: `bare-${round}` }),
      ours: async () => await syncAll(service, keys, { force: true }),
      rclone: async round => await runRclone(servers, 'medium', `rclone-${round}`, concurrency)
    })
    for (const line of heading) print(line)
    print(row('bare loop, GET piped to PUT (the limit)', costs.limit, costs.limit, 'per GiB', gib))
    print(row('edgeferry', costs.ours, costs.limit, 'per GiB', gib))
    print(row(`rclone copy ${rcloneVersion()}`, costs.rclone, costs.limit, 'per GiB', gib))
  } finally {
    await service.stop()
    await servers.close()
  }
}
