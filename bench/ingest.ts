import { cpus } from 'node:os'
import { startSns } from '../sandbox/sns/server.ts'
import { percentile, type Print } from './kit/compare.ts'
import { startBareFastify, timeCommit, timeVerification } from './kit/ingest-limits.ts'
import { flood, makeNotifications, pace, type Posted } from './kit/notifications.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, untilIdle, type Service } from './kit/service.ts'

export const name = 'Signed notifications, acknowledged when they are durable'

const topicArn = 'arn:aws:sns:us-east-1:123456789012:example-assets'
const warmUps = 1000
const flooded = 4000
const perSecond = 500
const paced = perSecond * 8
/** SNS opens as many as it likes; so many that a transaction can be full. */
const connections = 256
/** As many as the service takes into one transaction. */
const commitSize = 200

/**
 * How many notifications a second are verified, stored and acknowledged, and how soon at 500 a second. The upload account
 * is paused meanwhile, as after a change of its key: what is measured is the intake. A second service copies all the while.
 */
export async function run (print: Print): Promise<void> {
  const [sns, servers] = await Promise.all([startSns({ topics: [topicArn] }), startServers()])
  const make = (prefix: string, count: number) => makeNotifications(sns, topicArn, Array.from({ length: count }, (_, index) => keyOf(prefix, index)))
  const env = { ...servers.env, AWS_ENDPOINT_URL_SNS: sns.origin, SNS_TOPIC_ARNS: topicArn }
  const paused = await startService({ env: { ...env, NS_KEY: 'a-key-that-is-no-more', LOG_LEVEL: 'error' } })
  try {
    await servers.s3.call('putRow', { prefix: 'pause', count: 1, sizeBytes: 1024, etag: 'md5' })
    await servers.s3.call('putRow', { prefix: 'busy', count: paced, sizeBytes: 1024, etag: 'md5' })
    await flood(paused.origin, make('pause', 1), 1)
    await untilPaused(paused)
    const bodies = make('flood', flooded)

    const pem = await (await fetch(sns.certificateUrl())).text()
    timeVerification(pem, bodies.slice(0, warmUps))
    const verifyMs = timeVerification(pem, bodies)
    const commitMs = await timeCommit(commitSize, 20)
    const bare = await startBareFastify()
    await flood(bare.origin, bodies.slice(0, warmUps), connections)
    const nothing = await flood(bare.origin, bodies, connections)
    bare.close()
    await flood(paused.origin, make('warm', warmUps), connections)
    const cpuBefore = paused.cpuMs()
    const all = await flood(paused.origin, bodies, connections)
    const cpuMs = paused.cpuMs() - cpuBefore

    const allowed = 1000 / (verifyMs + commitMs / commitSize)
    const rate = (posted: Posted) => posted.latenciesMs.length / posted.ms * 1000
    print('| | a second | of what is allowed |')
    print('|---|---|---|')
    print(`| Fastify answers 200 to the same bodies | ${rate(nothing).toFixed(0)} | |`)
    print(`| RSA verification alone, one thread | ${(1000 / verifyMs).toFixed(0)} | |`)
    print(`| verification and one bare commit for ${commitSize}: allowed | ${allowed.toFixed(0)} | 1.00 |`)
    print(`| the service: verified, stored, acknowledged | ${rate(all).toFixed(0)} | ${(rate(all) / allowed).toFixed(2)} |`)
    print('')
    print(`${connections} connections; the service took ${(cpuMs / all.ms).toFixed(2)} of ${cpus().length} cores, and the generator ${(all.generatorCpuMs / all.ms).toFixed(2)} beside it.`)
    print('')
    show(print, `At ${perSecond}/s`, await pace(paused.origin, make('paced', paced), perSecond))
  } finally {
    await paused.stop()
  }
  const busy = await startService({ env: { ...env, LOG_LEVEL: 'error' } })
  try {
    show(print, `At ${perSecond}/s, while it copies what they tell of`, await pace(busy.origin, make('busy', paced), perSecond))
    const start = performance.now()
    await untilIdle(busy)
    print(`All ${paced} were copied ${((performance.now() - start) / 1000).toFixed(1)} s after the last was acknowledged.`)
  } finally {
    await busy.stop()
    await Promise.all([sns.close(), servers.close()])
  }
}

function show (print: Print, what: string, { latenciesMs, ms, generatorCpuMs }: Posted): void {
  print(`${what}: p50 ${percentile(latenciesMs, 0.5).toFixed(1)} ms, p99 ${percentile(latenciesMs, 0.99).toFixed(1)} ms, worst ${Math.max(...latenciesMs).toFixed(0)} ms (${latenciesMs.length} in ${(ms / 1000).toFixed(1)} s; generator ${(generatorCpuMs / ms).toFixed(2)} of a core).`)
}

async function untilPaused (service: Service): Promise<void> {
  for (;;) {
    const { checks } = await service.call('GET', '/readyz?verbose') as { checks: Array<{ name: string }> }
    if (checks.some(check => check.name === 'netstorage:default')) return
    await new Promise(resolve => { setTimeout(resolve, 50) })
  }
}
