import { cpus } from 'node:os'
import { startSns } from '../sandbox/sns/server.ts'
import { median, percentile, type Print } from './kit/compare.ts'
import { startBare, timeCommit, timeVerification } from './kit/ingest-limits.ts'
import { flood, makeNotifications, pace, type Posted } from './kit/notifications.ts'
import { keyOf, startServers } from './kit/servers.ts'
import { startService, untilIdle, type Service } from './kit/service.ts'

export const name = 'Signed notifications, acknowledged when they are durable'

const topicArn = 'arn:aws:sns:us-east-1:123456789012:example-assets'
const warmUps = 1000
const flooded = 4000
const rounds = 3
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
    const bodies = make('verify', flooded)

    const pem = await (await fetch(sns.certificateUrl())).text()
    timeVerification(pem, bodies.slice(0, warmUps))
    const verifyMs = timeVerification(pem, bodies)
    const commitMs = await timeCommit(commitSize, 20)
    const [fastify, intake] = [await startBare('bare-fastify.ts'), await startBare('bare-intake.ts', pem)]
    const floods: Record<'nothing' | 'least' | 'all', Posted[]> = { nothing: [], least: [], all: [] }
    let cpuMs = 0
    for (let round = 0; round <= rounds; round++) {
      const bodies = make(`flood-${round}`, flooded)
      const nothing = await flood(fastify.origin, bodies, connections)
      const least = await flood(intake.origin, bodies, connections)
      const cpuBefore = paused.cpuMs()
      const all = await flood(paused.origin, bodies, connections)
      // The first warms everything up.
      if (round === 0) continue
      cpuMs += paused.cpuMs() - cpuBefore
      for (const [name, posted] of Object.entries({ nothing, least, all })) floods[name as keyof typeof floods].push(posted)
    }
    fastify.close()
    intake.close()

    const rate = (all: Posted[]) => median(all.map(posted => posted.latenciesMs.length / posted.ms * 1000))
    const sum = (of: (posted: Posted) => number) => floods.all.map(of).reduce((a, b) => a + b)
    const computed = 1000 / (verifyMs + commitMs / commitSize)
    const [allowed, reached] = [rate(floods.least), rate(floods.all)]
    print('| | a second | of what is allowed |')
    print('|---|---|---|')
    print(`| RSA verification alone, one thread | ${(1000 / verifyMs).toFixed(0)} | |`)
    print(`| verification and one bare commit for ${commitSize}, one after the other, without HTTP | ${computed.toFixed(0)} | |`)
    print(`| Fastify answers 200 to the same bodies | ${rate(floods.nothing).toFixed(0)} | |`)
    print(`| Fastify, verification and one bare row each, one commit for all that wait: allowed | ${allowed.toFixed(0)} | 1.00 |`)
    print(`| the service: verified, compared with what was seen, stored, woken, acknowledged | ${reached.toFixed(0)} | ${(reached / allowed).toFixed(2)} |`)
    print('')
    print(`Medians of ${rounds} runs of ${flooded.toLocaleString('en')} over ${connections} connections; the service took ${(cpuMs / sum(posted => posted.ms)).toFixed(2)} of ${cpus().length} cores, and the generator ${(sum(posted => posted.generatorCpuMs) / sum(posted => posted.ms)).toFixed(2)} beside it. Of the limit without HTTP it is ${(reached / computed).toFixed(2)}.`)
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
