import { sql } from 'kysely'
import t from 'tap'
import { startFastPurge } from '../../../sandbox/fast-purge/server.ts'
import { postgres } from '../../../src/store/postgres.ts'
import { startPostgres } from '../../postgres-server.ts'
import { startProcess, until } from '../../process.ts'
import { letPass, purge, purgeJob, startRig, url, urls } from './rig.ts'

const server = await startPostgres()
if (server === undefined) {
  t.plan(0, 'PostgreSQL is not installed')
  process.exit()
}
const log = { info () {}, warn () {}, error () {} }
const stores = [await postgres({ url: server.url, log }), await postgres({ url: server.url, log })] as const
t.teardown(async () => {
  await Promise.all(stores.map(async store => { await store.close() }))
  await server.stop()
})

t.test('two replicas together keep within the budget, as fast as it lets them', async t => {
  const first = await startRig(t, { store: stores[0], emulator: { buckets: { url: { size: 1000, perSecond: 200 } } }, planner: { budget: 0.95 } })
  const second = await startRig(t, { store: stores[1], beside: first, planner: { budget: 0.95 } })
  const startedAt = Date.now()
  const jobs = await Promise.all([0, 1].flatMap(n => [purge(first, purgeJob(urls(450, `a${n}`))), purge(second, purgeJob(urls(450, `b${n}`)))]))
  t.ok(jobs.every(job => job.state === 'succeeded'))
  t.same([...new Set(first.emulator.log.map(each => each.status))], [201])
  const sent = first.emulator.purges()
  t.equal(sent.flatMap(each => each.objects).length, 1800)
  for (const { at } of sent) {
    const soFar = sent.filter(each => each.at <= at).flatMap(each => each.objects).length
    t.ok(soFar <= 0.95 * (1000 + 200 * (at - startedAt) / 1000), `${soFar} after ${at - startedAt} ms`)
  }
  t.equal((await sql`select from purge_lanes`.execute(stores[0].kysely)).rows.length, 1)
})

t.test('when one leaves, the other goes on at once', async t => {
  const first = await startRig(t, { store: stores[0] })
  await purge(first, purgeJob([url(1)]))
  const second = await startRig(t, { store: stores[1], beside: first })
  await first.stop()
  t.match(await purge(second, purgeJob([url(2)])), { state: 'succeeded' })
})

t.test('what a killed process had on its way is sent once more by another, and each object at least once', async t => {
  await sql`truncate jobs, job_labels, debts, waiters, purges, purge_objects, purge_lanes, purge_buckets, pauses`.execute(stores[0].kysely)
  const client = { clientToken: 'client-token', clientSecret: 'client-secret', accessToken: 'access-token' }
  const emulator = await startFastPurge({ clients: [client] })
  t.teardown(async () => { await emulator.close() })
  const env = {
    DATABASE_URL: server.url,
    S3_BUCKETS: 'example-assets',
    NS_HOSTNAME: 'http://127.0.0.1:1',
    NS_KEYNAME: 'upload',
    NS_KEY: 'a-key-for-tests',
    NS_CP: '123456',
    AO_API_HOST: emulator.origin,
    AO_CLIENT_TOKEN: client.clientToken,
    AO_CLIENT_SECRET: client.clientSecret,
    AO_ACCESS_TOKEN: client.accessToken,
    PURGE_URLS: 'https://www.example.com/{key}',
    PURGE_COALESCE_MS: '0'
  }
  const start = () => {
    const replica = startProcess(env, { script: './replica.ts' })
    t.teardown(async () => {
      replica.kill('SIGKILL')
      await replica.exited
    })
    return replica
  }
  const dying = start()
  emulator.faults.add({ times: 1, hang: 'after-commit' })
  const origin = await dying.origin
  const answer = await fetch(`${origin}/purge`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ urls: urls(300) }) })
  const { id } = await answer.json() as { id: string }
  await until(() => emulator.purges().length === 1, 'a request is on its way')
  dying.kill('SIGKILL')
  await dying.exited
  const heir = start()
  const heirOrigin = await heir.origin
  t.match(await (await fetch(`${heirOrigin}/jobs/${id}`)).json(), { state: 'purging' })
  // Instead of waiting until the dead one's lease and claims run out.
  await sql`update purge_lanes set held_until = now()`.execute(stores[0].kysely)
  await letPass(stores[0], 20_000)
  t.match(await (await fetch(`${heirOrigin}/jobs/${id}`, { headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded', purge: { requests: [{ count: 300 }] } })
  t.same(emulator.purges().map(each => each.objects?.length), [300, 300], 'accepted, killed before it was booked, and repeated')
  t.same((await sql`select from debts`.execute(stores[0].kysely)).rows, [])
})
