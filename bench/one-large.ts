import { heading, interleave, row, type Print } from './kit/compare.ts'
import { runLoop } from './kit/loop.ts'
import { rcloneVersion, runRclone } from './kit/rclone.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, syncAll } from './kit/service.ts'

export const name = 'One object of 1 GiB'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
const sizeBytes = 1024 ** 3

/** One large object: its ETag an MD5, then none, so that it is hashed on its way. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: servers.env })
  try {
    await servers.s3.call('putRow', { prefix: 'md5', count: 1, sizeBytes, etag: 'md5' })
    await servers.s3.call('putRow', { prefix: 'parts', count: 1, sizeBytes, etag: 'multipart' })
    const route = { s3: servers.s3.origin, netstorage: servers.netstorage.origin, keys: [keyOf('md5', 0)], concurrency: 1 }
    const costs = await interleave(rounds, {
      limit: async round => await runLoop('pipe', { ...route, into: `bare-${round}` }),
      md5: async () => await syncAll(service, [keyOf('md5', 0)], { force: true }),
      hashed: async () => await syncAll(service, [keyOf('parts', 0)], { force: true }),
      rclone: async round => await runRclone(servers, 'md5', `rclone-${round}`, 1)
    })
    for (const line of heading) print(line)
    print(row('bare loop, GET piped to PUT (the limit)', costs.limit, costs.limit, 'per GiB', 1))
    print(row('edgeferry, ETag is an MD5', costs.md5, costs.limit, 'per GiB', 1))
    print(row('edgeferry, hashed on the way', costs.hashed, costs.limit, 'per GiB', 1))
    print(row(`rclone copy ${rcloneVersion()}`, costs.rclone, costs.limit, 'per GiB', 1))
  } finally {
    await service.stop()
    await servers.close()
  }
}
