import { sql } from 'kysely'
import t from 'tap'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { hastenProbes, oweByEvent, purge, purgeJob, startRig, until, url, urls, type Rig } from './rig.ts'

const log = { info () {}, warn () {}, error () {} }
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })

const statuses = ({ emulator }: Rig) => emulator.log.map(each => each.status)
const accepted = ({ emulator }: Rig) => emulator.purges().flatMap(each => each.objects ?? [])

t.test('of 600 URLs one is refused by name: it fails with the reason, and 599 are purged', async t => {
  const rig = await startRig(t, { store, emulator: { hosts: ['www.example.com'] } })
  const bad = 'https://elsewhere.example/a.css'
  const [job, other] = await Promise.all([
    purge(rig, purgeJob([...urls(300), bad, ...urls(299, 'b')])),
    purge(rig, purgeJob([url('of-another-job')]))
  ])
  t.match(job, { state: 'failed', error: { code: 'purge_refused', detail: /unauthorized arl/ }, purged: { refused: [{ object: bad, reason: /^unauthorized arl: https:\/\/elsewhere\.example\/a\.css/ }] } })
  t.equal(job.purged?.refused?.length, 1)
  t.equal(new Set(accepted(rig)).size, 600)
  t.match(other, { state: 'succeeded' })
  t.ok(statuses(rig).filter(status => status === 403).length === 1)
})

t.test('where no object is named, halves find the one at fault within a bound', async t => {
  const rig = await startRig(t, { store })
  const bad = 'https://-/a.css'
  const job = await purge(rig, purgeJob([...urls(300), bad, ...urls(211, 'b')]))
  t.match(job, { state: 'failed', purged: { refused: [{ object: bad, reason: /bad URL hostname: Invalid or malformed hostname/ }] } })
  t.equal(job.purged?.refused?.length, 1)
  t.equal(accepted(rig).length, 511)
  t.ok(statuses(rig).length <= 2 * 10, `${statuses(rig).length} requests`)
})

t.test('many at fault are told apart from the good ones, and all of both are dealt with', async t => {
  const rig = await startRig(t, { store, emulator: { hosts: ['www.example.com'], cpCodes: [1, 2] } })
  const bad = Array.from({ length: 20 }, (_, n) => `https://elsewhere.example/${n}`)
  const [job, codes] = await Promise.all([
    purge(rig, purgeJob(urls(80).flatMap((good, n) => n % 4 === 0 ? [good, bad[n / 4] as string] : [good]))),
    purge(rig, purgeJob([1, 3, 2], { by: 'cpcode' }))
  ])
  t.same(job.purged?.refused?.map(each => each.object).toSorted(), bad.toSorted())
  t.match(codes, { state: 'failed', purged: { refused: [{ object: 3, reason: /unauthorized cpcode: 3/ }] } })
  t.same(accepted(rig).map(String).toSorted(), [...urls(80), '1', '2'].toSorted())
})

t.test('a path goes on owing what was refused, and a purge of no path does not', async t => {
  const rig = await startRig(t, { store, emulator: { hosts: ['www.example.com'] } })
  const [id = ''] = await oweByEvent(store, ['https://elsewhere.example/a'])
  await rig.queue.wait(id, 10_000)
  await purge(rig, purgeJob(['https://elsewhere.example/b']))
  t.match(await store.kysely.selectFrom('debts').select(['object', 'due_at']).execute(), [{ object: 'https://elsewhere.example/a', due_at: null }])
})

t.test('a 429 waits exactly as long as the missing tokens need', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 100, perSecond: 20 } } } })
  t.match(await purge(rig, purgeJob(urls(10))), { state: 'succeeded' })
  rig.emulator.buckets.url.drain(1000)
  const job = await purge(rig, purgeJob(urls(60, 'b')))
  t.match(job, { state: 'succeeded', error: null })
  t.same(statuses(rig), [201, 429, 201])
  const [, refused, sent] = rig.emulator.log
  const waitedMs = (sent?.at ?? 0) - (refused?.at ?? 0)
  t.ok(waitedMs >= 2900, `${waitedMs} ms for 60 tokens at 20 a second`)
})

t.test('another tool that drains half of the account costs no second 429', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 1000, perSecond: 200 } } }, planner: { budget: 0.95 } })
  const tool = setInterval(() => { rig.emulator.buckets.url.drain(5) }, 50)
  t.teardown(() => { clearInterval(tool) })
  const job = await purge(rig, purgeJob(urls(1600)))
  t.equal(job.state, 'succeeded')
  t.ok(statuses(rig).filter(status => status === 429).length <= 1, statuses(rig).join())
})

t.test('a short request bucket is waited for as well, and an answer without numbers for five seconds', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { request: { size: 5, perSecond: 1 } } } })
  await purge(rig, purgeJob([url(1)]))
  rig.emulator.buckets.request.drain(5)
  t.match(await purge(rig, purgeJob([url(2)])), { state: 'succeeded' })
  t.same(statuses(rig), [201, 429, 201])
  rig.emulator.faults.add({ times: 1, status: 429, body: '{}', headers: { 'retry-after': '1' } })
  t.match(await purge(rig, purgeJob([url(3)])), { state: 'succeeded' })
})

t.test('a missing grant stops the lane, one object asks now and then, and nothing is lost', async t => {
  const rig = await startRig(t, { store })
  const client = rig.emulator.clients[0] as { grant?: boolean }
  client.grant = false
  const { id } = await rig.queue.add(purgeJob(urls(1500)))
  await until(() => rig.pauses.reasons().has('edgegrid:default'))
  const later = await rig.queue.add(purgeJob([url('later')]))
  hastenProbes(t, store)
  t.match(rig.pauses.reasons().get('edgegrid:default'), /CCU APIs" READ-WRITE/)
  t.match(await rig.queue.find(id), { state: 'purging', error: { code: 'purge_forbidden' } })
  await until(() => rig.emulator.log.length >= 2)
  await until(async () => (await rig.queue.find(later.id))?.error?.code === 'purge_forbidden')
  t.same(rig.emulator.log.at(-1)?.bytes, Buffer.byteLength(JSON.stringify({ objects: urls(1) })), 'a real request of one object')
  t.same((await sql`select max(attempts) as most from debts`.execute(store.kysely)).rows, [{ most: 0 }], 'no attempts are used up')
  delete client.grant
  t.match(await rig.queue.wait(id, 30_000), { state: 'succeeded', error: null })
  t.match(await rig.queue.wait(later.id, 30_000), { state: 'succeeded', error: null })
  t.equal(accepted(rig).length, 1501)
  t.same(rig.pauses.reasons().size, 0)
})

t.test('a clock that is too far off is such a refusal, and the reason names the offset', async t => {
  const rig = await startRig(t, { store })
  rig.emulator.clock.offsetSeconds = -95
  const { id } = await rig.queue.add(purgeJob([url(1)]))
  await until(() => rig.pauses.reasons().has('edgegrid:default'))
  t.match(rig.pauses.reasons().get('edgegrid:default'), /Invalid timestamp.*9[456] s ahead of Akamai's/)
  rig.emulator.clock.offsetSeconds = 0
  hastenProbes(t, store)
  t.match(await rig.queue.wait(id, 30_000), { state: 'succeeded' })
})

t.test('a probe that the service itself refuses shows that the credentials are accepted', async t => {
  const rig = await startRig(t, { store, emulator: { hosts: ['www.example.com'] } })
  const client = rig.emulator.clients[0] as { grant?: boolean }
  client.grant = false
  const { id } = await rig.queue.add(purgeJob(['https://elsewhere.example/a', url(1)]))
  await until(() => rig.pauses.reasons().has('edgegrid:default'))
  delete client.grant
  hastenProbes(t, store)
  t.match(await rig.queue.wait(id, 30_000), { state: 'failed', purged: { refused: [{ object: 'https://elsewhere.example/a' }] } })
  t.same(accepted(rig), [url(1)])
})

t.test('what Fast Purge could not answer is sent again, one request at a time, and the job tells why it waits', async t => {
  const rig = await startRig(t, { store, timeoutMs: 300 })
  rig.emulator.faults.add({ times: 1, status: 503, body: '<html>busy</html>' })
  rig.emulator.faults.add({ times: 1, hang: 'after-commit' })
  const { id } = await rig.queue.add(purgeJob([url(1)]))
  await until(async () => (await rig.queue.find(id))?.error !== null)
  t.match(await rig.queue.find(id), { state: 'purging', error: { code: 'purge_unavailable' }, next_attempt_at: Date })
  t.match(await rig.queue.wait(id, 30_000), { state: 'succeeded', error: null, next_attempt_at: null })
  t.same(rig.emulator.purges().map(each => each.objects), [[url(1)], [url(1)]], 'a repeat does no harm')
})

t.test('what Fast Purge never answers fails when its time is over', async t => {
  const rig = await startRig(t, { store, planner: { retryMs: 1500 } })
  const clear = rig.emulator.faults.add({ status: 500, body: '{"httpStatus":500,"title":"internal error"}' })
  t.match(await purge(rig, purgeJob([url(1), url(2)])), { state: 'failed', error: { code: 'purge_unavailable' }, purged: { refused: [{ object: url(1) }, { object: url(2) }] } })
  clear()
})

t.test('an object that Fast Purge chokes on does not hold up the others for ever', async t => {
  const rig = await startRig(t, { store })
  await rig.queue.add(purgeJob([url(1), url(2), url(3), url(4)]))
  await sql`update debts set attempts = 6`.execute(store.kysely)
  rig.emulator.faults.add({ times: 1, status: 500, body: '{"httpStatus":500,"title":"internal error"}' })
  await until(() => rig.emulator.log.length >= 1)
  await sql`update debts set due_at = now() where due_at > now()`.execute(store.kysely)
  await until(() => accepted(rig).length === 4)
  t.same(rig.emulator.purges().map(each => each.objects?.length), [2, 2])
})

t.test('purges of credentials that nobody knows fail, but not before another replica could have known them', async t => {
  const rig = await startRig(t, { store })
  const { id } = await rig.queue.add(purgeJob([url(1)], { edgegrid: 'forgotten' }))
  await sql`update debts set due_at = now() - interval '2 minutes'`.execute(store.kysely)
  t.match(await rig.queue.wait(id, 20_000), { state: 'failed', error: { detail: /no EdgeGrid credentials named "forgotten"/ } })
  t.ok(rig.complaints.some(each => each.includes('forgotten')))
})
