import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { until } from '../../process.ts'

/** What signs requests to the gateway, by the SDK's names. */
export interface Credentials { accessKeyId: string, secretAccessKey: string }

/** A Ceph cluster of one node: a monitor, an object store in memory, and a RADOS gateway on loopback. */
export interface Cluster {
  /** Where the gateway speaks S3. */
  origin: string
  version: string
  /** Makes a user, who may only do what concerns buckets of their own. */
  makeUser: (name: string) => Promise<Credentials>
  /** Where the gateway says it crashed, if it did. */
  crash: () => string | undefined
  /** Ends all of it; what was stored is gone. */
  close: () => Promise<void>
}

const run = promisify(execFile)

/** Starts it from Debian's packages, with everything it writes in `dir`; every process is nice, and ends with this one's `close`. */
export async function startCluster (dir: string): Promise<Cluster> {
  const [monitorPort, gatewayPort] = await findPorts(2)
  const conf = join(dir, 'ceph.conf')
  const fsid = randomUUID()
  writeFileSync(conf, configuration(dir, fsid, monitorPort))
  // Started by root they would become a user who may not write here.
  const ours = ['-c', conf, ...(process.getuid?.() === 0 ? ['--setuser', 'root', '--setgroup', 'root'] : [])]
  const running: ChildProcess[] = []
  const start = (program: string, ...more: string[]): void => {
    const out = openSync(join(dir, `${program}.out`), 'a')
    running.push(spawn('nice', [program, '-f', ...ours, ...more], { stdio: ['ignore', out, out] }))
  }
  // Whoever is stopped while it starts leaves nothing behind either.
  process.once('exit', () => { for (const child of running) child.kill('SIGKILL') })
  const close = async (): Promise<void> => {
    // Whoever depends on others goes first; none of them has anything to save.
    for (const child of running.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const gone = new Promise(resolve => { child.once('exit', resolve) })
      child.kill('SIGKILL')
      await gone
    }
  }
  /** A program that ends by itself. One that waits for a cluster that does not come is ended. */
  const ask = async (program: string, ...more: string[]): Promise<string> => (await run(program, more, { timeout: 120_000 })).stdout
  try {
    for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(dir, name))
    const map = join(dir, 'monmap')
    await ask('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, map)
    await ask('ceph-mon', ...ours, '--mkfs', '-i', 'a', '--monmap', map)
    start('ceph-mon', '-i', 'a')
    const disk = randomUUID()
    await ask('ceph', '-c', conf, '--connect-timeout', '60', 'osd', 'new', disk)
    await ask('ceph-osd', ...ours, '--mkfs', '-i', '0', '--osd-uuid', disk)
    start('ceph-osd', '-i', '0')
    await until(async () => (await ask('ceph', '-c', conf, 'osd', 'stat')).includes('1 up'), 'the object store is up', 60_000, 200)
    start('radosgw', '-n', 'client.rgw.a', '--rgw_data', join(dir, 'rgw'), '--rgw_frontends', `beast endpoint=127.0.0.1:${gatewayPort}`)
    const origin = `http://127.0.0.1:${gatewayPort}`
    await until(async () => await fetch(origin).then(answer => answer.ok, () => false), 'the gateway answers', 120_000, 200)
    return {
      origin,
      version: (await ask('radosgw', '--version')).trim(),
      async makeUser (name) {
        const credentials = { accessKeyId: `${name}-access-key`, secretAccessKey: `${name}-secret-key` }
        await ask('radosgw-admin', '-c', conf, 'user', 'create', '--uid', name, '--display-name', name, '--access-key', credentials.accessKeyId, '--secret-key', credentials.secretAccessKey)
        return credentials
      },
      crash: () => /\*\*\* Caught signal[^]*?NOTE:/.exec(readFileSync(join(dir, 'client.rgw.a.log'), 'latin1'))?.[0],
      close
    }
  } catch (error) {
    await close()
    const last = ['mon.a', 'osd.0', 'client.rgw.a'].map(name => { try { return readFileSync(join(dir, `${name}.log`), 'utf8').slice(-1000) } catch { return '' } })
    throw new Error(`the cluster does not start; it needs Debian's radosgw, ceph-mon, ceph-osd and ceph-common\n${last.join('\n')}`, { cause: error })
  }
}

const configuration = (dir: string, fsid: string, monitorPort: number) => `[global]
fsid = ${fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:${monitorPort}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# The gateway insists on encryption otherwise, and without authentication there is none.
ms_mon_client_mode = crc
run_dir = ${dir}
log_file = ${dir}/$name.log
admin_socket = ${dir}/$name.asok
pid_file = ${dir}/$name.pid
crash_dir = ${dir}/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
mon_data = ${dir}/mon
osd_data = ${dir}/osd
`

async function findPorts (count: 2): Promise<[number, number]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => await new Promise<ReturnType<typeof createServer>>(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => { resolve(server) })
  })))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(async server => { await new Promise(resolve => { server.close(resolve) }) }))
  return ports as [number, number]
}
