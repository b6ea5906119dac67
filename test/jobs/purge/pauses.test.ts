import { sql } from 'kysely'
import t from 'tap'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { hastenProbes, purge, purgeJob, startRig, until, url, urls, type Rig } from './rig.ts'

const log = { info () {}, warn () {}, error () {} }
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })

const accepted = ({ emulator }: Rig) => emulator.purges().flatMap(each => each.objects ?? [])

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
  t.ok(Number(rig.emulator.log.at(-1)?.bytes) < 150, 'a real request of one object')
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

t.test('purges of credentials that nobody knows fail, but not before another replica could have known them', async t => {
  const rig = await startRig(t, { store })
  const { id } = await rig.queue.add(purgeJob([url(1)], { edgegrid: 'forgotten' }))
  await sql`update debts set due_at = now() - interval '2 minutes'`.execute(store.kysely)
  t.match(await rig.queue.wait(id, 20_000), { state: 'failed', error: { detail: /no EdgeGrid credentials named "forgotten"/ } })
  t.ok(rig.complaints.some(each => each.includes('forgotten')))
})
