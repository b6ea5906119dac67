import { setTimeout as sleep } from 'node:timers/promises'
import { median, percentile, type Print } from './kit/compare.ts'
import { startCrowd, type Crowd } from './kit/crowd.ts'
import { asksPerSecond, copyAll, hold, measure, syncsPerSecond, type Held, type Window } from './kit/probe.ts'
import { bucket, keyOf, startServers } from './kit/servers.ts'
import { startService, type Job, type Service } from './kit/service.ts'

export const name = 'Open streams and waiting requests'

const streams = Number(process.env['BENCH_STREAMS'] ?? 10_000)
const waiters = Number(process.env['BENCH_WAITERS'] ?? 1_000)
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
/** How often all are opened and closed again, to see whether something is left each time. */
const moreRounds = 4
/** One of so many streams follows all jobs. */
const everyAll = 20
/** How many jobs the other streams follow: one that is being uploaded, and those that wait behind it. */
const followed = 500

/** Collects garbage when told to, so that what stays is what is held. */
const execArgv = ['--expose-gc', '--import', 'data:text/javascript,process.on("SIGUSR2", () => { gc() })']

/** The same with all open, and what it cost to get there and to stay. */
interface Open extends Held { openMs: number, openCpuMs: number, idleCpuShare: number, comments: number }

/** The same work with nobody listening and with ten thousand streams and a thousand waiting requests open, in turn. */
export async function run (print: Print): Promise<void> {
  const servers = await startServers()
  const service = await startService({ env: { ...servers.env, SHUTDOWN_TIMEOUT_SECONDS: '1' }, execArgv })
  const crowd = await startCrowd(service.origin)
  try {
    await servers.s3.call('putRow', { prefix: 'probe', count: 1000, sizeBytes: 10_240, etag: 'md5' })
    await copyAll(service)
    const [uploading, ...queued] = await block(service, servers)
    await measure(service, crowd)
    const quiet: Window[] = []
    const busy: Window[] = []
    const before = await hold(service)
    const open: Open[] = []
    const after: Held[] = []
    const freed: number[] = []
    const idleShares: number[] = []
    // Every round has a source address of its own: ports that were left are not free again at once.
    const openStreams = async (round: number) => {
      await crowd.open(Array.from({ length: streams }, (_, n) => ({ method: 'GET', path: n % everyAll === 0 ? '/events/stream' : `/jobs/${n % 10 === 1 ? uploading : queued[n % queued.length]}/events` })), { waits: false, from: `127.0.0.${2 + round}` })
    }
    /** Until every descriptor is free again; returns the milliseconds. */
    const leave = async () => {
      const startedAt = performance.now()
      await crowd.leave()
      while ((await hold(service, false)).fds > before.fds + 10) await sleep(20)
      return performance.now() - startedAt
    }
    for (let round = 0; round < rounds; round++) {
      await crowd.open([{ method: 'GET', path: '/events/stream' }], { waits: false, from: '127.0.0.1' })
      quiet.push(await measure(service, crowd))
      const quietCpu = service.cpuMs()
      await sleep(quietMs)
      idleShares.push((service.cpuMs() - quietCpu) / quietMs)
      await crowd.leave()
      const startedAt = performance.now()
      const cpuBefore = service.cpuMs()
      await openStreams(round)
      const openMs = performance.now() - startedAt
      const openCpuMs = service.cpuMs() - cpuBefore
      await crowd.open(Array.from({ length: waiters }, (_, n) => n % 2 === 0
        ? { method: 'GET', path: `/jobs/${queued[n % queued.length]}`, prefer: 'wait=55' }
        : { method: 'POST', path: '/sync', body: { bucket, key: keyOf('slow', 0) }, prefer: 'wait=55' }), { waits: true, from: '127.0.0.1' })
      const waitedFrom = performance.now()
      // Until the last of them is stored and waits.
      await sleep(2000)
      busy.push(await measure(service, crowd))
      const cpu = service.cpuMs()
      const { comments } = await idle(crowd)
      const idleCpuShare = (service.cpuMs() - cpu) / idleMs
      open.push({ ...await hold(service), openMs, openCpuMs, idleCpuShare, comments })
      const { answered } = await crowd.heard()
      if (answered > 0 && performance.now() - waitedFrom < 50_000) throw new Error(`${answered} requests that should wait were answered`)
      freed.push(await leave())
      after.push(await hold(service))
    }
    const again: Held[] = []
    for (let round = rounds; round < rounds + moreRounds; round++) {
      await openStreams(round)
      await leave()
      again.push(await hold(service))
    }
    report(print, quiet, busy, before, open, after, freed, idleShares, again)
  } finally {
    await crowd.close()
    await service.stop()
    await servers.close()
  }
}

/** Longer than it takes a comment to come. */
const idleMs = 16_000
const quietMs = 5000

/** One upload that lasts, and jobs of the same object that wait for it. Returns their ids. */
async function block (service: Service, servers: Awaited<ReturnType<typeof startServers>>): Promise<[string, ...string[]]> {
  await servers.s3.call('putRow', { prefix: 'slow', count: 1, sizeBytes: 4 * 1024 ** 3, etag: 'md5' })
  await servers.s3.call('slow', 'slow', 1024 ** 2)
  const sync = async () => (await service.call('POST', '/sync', { bucket, key: keyOf('slow', 0) }) as Job).id
  const first = await sync()
  while ((await service.call('GET', `/jobs/${first}`) as Job).state !== 'uploading') await sleep(50)
  return [first, ...await Promise.all(Array.from({ length: followed }, sync))]
}

/** Nothing but the one upload goes on. */
async function idle (crowd: Crowd): Promise<{ comments: number }> {
  await crowd.heard()
  await sleep(idleMs)
  return await crowd.heard()
}

function report (print: Print, quiet: Window[], busy: Window[], before: Held, open: Open[], after: Held[], freed: number[], idleShares: number[], again: Held[]): void {
  const both = (what: string, of: (window: Window) => number, unit = ' ms', digits = 1) => {
    const [none, all] = [quiet, busy].map(windows => median(windows.map(of))) as [number, number]
    print(`| ${what} | ${none.toFixed(digits)}${unit} | ${all.toFixed(digits)}${unit} | ${(all / none).toFixed(2)} |`)
  }
  print(`| beside ${asksPerSecond} \`GET /jobs/{id}\` and ${syncsPerSecond} copies a second | one stream | ${streams.toLocaleString('en')} streams, ${waiters.toLocaleString('en')} waiting | ratio |`)
  print('|---|---|---|---|')
  for (const [share, label] of [[0.5, 'p50'], [0.99, 'p99']] as const) {
    both(`\`GET /jobs/{id}\` ${label}`, window => percentile(window.get, share))
    both(`\`POST /sync\` ${label}`, window => percentile(window.sync, share))
    both(`from the end of a job to its message ${label}`, window => percentile(window.told, share))
  }
  both('event loop delay p50', window => window.loopP50Ms)
  both('event loop delay p99', window => window.loopP99Ms)
  both('event loop delay, worst', window => window.loopMaxMs)
  both('CPU', window => window.cpuShare * 100, ' %', 0)
  both('messages', window => window.messages, '', 0)
  both('copies a second at full speed', window => window.copiesPerSecond, '', 1)
  const mid = (of: (held: Open) => number) => median(open.map(of))
  const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(0)} MiB`
  print('')
  print(`Opened in ${(mid(held => held.openMs) / 1000).toFixed(1)} s with ${(mid(held => held.openCpuMs) / streams).toFixed(2)} ms of CPU each; a stream holds ${((mid(held => held.heapBytes) - before.heapBytes) / (streams + waiters) / 1024).toFixed(1)} KiB of heap, ${((mid(held => held.rssBytes) - before.rssBytes) / (streams + waiters) / 1024).toFixed(1)} KiB of the process; while nothing happens the process takes ${(100 * mid(held => held.idleCpuShare)).toFixed(0)} % of a core instead of ${(100 * median(idleShares)).toFixed(0)} %, and they hear ${mid(held => held.comments)} comments in ${idleMs / 1000} s.`)
  print('')
  print('| garbage collected | descriptors | streams | timers | heap | process |')
  print('|---|---|---|---|---|---|')
  const line = (what: string, held: Held) => { print(`| ${what} | ${held.fds} | ${held.streams} | ${held.timers} | ${mib(held.heapBytes)} | ${mib(held.rssBytes)} |`) }
  line('before', before)
  for (const [round, held] of open.entries()) {
    line(`open, round ${round + 1}`, held)
    line(`closed, after ${freed[round]?.toFixed(0)} ms`, after[round] as Held)
  }
  for (const [round, held] of again.entries()) line(`opened and closed again, ${round + 1}`, held)
}
