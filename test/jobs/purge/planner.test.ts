import t from 'tap'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { oweByEvent, purge, purgeJob, startRig, until, url, urls, type Rig } from './rig.ts'

const log = { info () {}, warn () {}, error () {} }
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })

const statuses = ({ emulator }: Rig) => emulator.log.map(each => each.status)

t.test('what comes due together is one request, each object once, and every job learns its purgeId', async t => {
  const rig = await startRig(t, { store, planner: { coalesceMs: 500 } })
  const jobs = await Promise.all([
    purge(rig, purgeJob([url(1), url(2)])),
    purge(rig, purgeJob([url(2), url(3)])),
    purge(rig, purgeJob([url(1)]))
  ])
  const sent = rig.emulator.purges()
  t.equal(sent.length, 1)
  t.same(sent[0]?.objects?.toSorted(), [url(1), url(2), url(3)])
  for (const job of jobs) {
    t.match(job, { state: 'succeeded', outcome: 'purged', purged: { purgeId: sent[0]?.purgeId, requests: [{ purgeId: sent[0]?.purgeId, count: 3 }] } })
    t.equal(job.purged?.requests?.length, 1)
  }
})

t.test('network, action and type have requests of their own, and delete beats invalidate', async t => {
  const rig = await startRig(t, { store, planner: { coalesceMs: 500 } })
  const jobs = await Promise.all([
    purge(rig, purgeJob([url(1), url(2)])),
    purge(rig, purgeJob([url(2)], { action: 'delete' })),
    purge(rig, purgeJob([url(2)], { network: 'staging' })),
    purge(rig, purgeJob([7, 8], { by: 'cpcode' })),
    purge(rig, purgeJob(['a-tag'], { by: 'tag' }))
  ])
  t.ok(jobs.every(job => job.state === 'succeeded'))
  const sent = rig.emulator.purges().map(({ action, type, network, objects }) => `${action} ${type} ${network} ${objects?.toSorted().join()}`)
  t.same(sent.toSorted(), [
    `delete url production ${url(2)}`,
    'invalidate cpcode production 7,8',
    'invalidate tag production a-tag',
    `invalidate url production ${url(1)}`,
    `invalidate url staging ${url(2)}`
  ])
})

t.test('an object that several paths owe is purged once, by the strongest action any of them wants, for all of them', async t => {
  const rig = await startRig(t, { store, planner: { coalesceMs: 300 } })
  const [first] = await oweByEvent(store, [url(1)])
  const [second] = await oweByEvent(store, [url(1)], { action: 'delete' }, () => 'default/1/elsewhere')
  const [third] = await oweByEvent(store, [url(1)], { delayMs: 60_000 }, () => 'default/1/not-settled')
  const ended = await Promise.all([first, second].map(async id => await rig.queue.wait(id as string, 10_000)))
  t.match(ended, [{ state: 'succeeded' }, { state: 'succeeded' }])
  t.match(rig.emulator.purges(), [{ action: 'delete', objects: [url(1)] }])
  t.match(await rig.queue.find(third as string), { state: 'settling' })
})

t.test('bodies are full, and none is over 49,999 bytes', async t => {
  const rig = await startRig(t, { store })
  const job = await purge(rig, purgeJob(urls(2000)))
  t.equal(job.state, 'succeeded')
  const sent = rig.emulator.purges()
  t.equal(sent.reduce((sum, each) => sum + (each.objects?.length ?? 0), 0), 2000)
  t.ok(sent.every(each => each.bytes <= 49_999))
  t.equal(sent.filter(each => each.bytes < 49_900).length, 1, 'only the last is not full')
})

t.test('an object too long for any request fails by itself, and says so', async t => {
  const rig = await startRig(t, { store })
  const long = url('x'.repeat(50_000))
  const job = await purge(rig, purgeJob([url(1), long, url(2)]))
  t.match(job, { state: 'failed', error: { code: 'purge_object_too_long' }, purged: { refused: [{ object: long, reason: /longer than a purge request may be/ }] } })
  t.match(rig.emulator.purges(), [{ objects: [url(1), url(2)] }])
  t.notOk(rig.emulator.log.some(each => each.status === 413))
})

t.test('a burst is followed by what flows in, never faster than the budget', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 1000, perSecond: 500 } } } })
  const startedAt = Date.now()
  const job = await purge(rig, purgeJob(urls(2500)))
  const seconds = (Date.now() - startedAt) / 1000
  t.equal(job.state, 'succeeded')
  t.same([...new Set(rig.emulator.log.map(each => each.status))], [201])
  t.ok(0.9 * (1000 + 500 * seconds) + 1 >= 2500, `2500 in ${seconds} s`)
})

t.test('an urgent purge passes those of events, which get a part of the tokens all the same', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 1000, perSecond: 50 } } } })
  await oweByEvent(store, urls(1400, 'event'))
  await until(() => rig.emulator.purges().length >= 2)
  const before = rig.emulator.purges().length
  const job = await purge(rig, purgeJob([url('urgent')]))
  t.equal(job.state, 'succeeded')
  const bulk = rig.queue.add(purgeJob(urls(400, 'bulk')))
  await until(() => rig.emulator.purges().length >= before + 12)
  await bulk
  const after = rig.emulator.purges().slice(before).flatMap(each => each.objects ?? [])
  t.ok(after.some(object => String(object).includes('bulk')))
  const events = after.filter(object => String(object).includes('event')).length
  t.ok(events > after.length / 10, `${events} of ${after.length} are of events`)
})

t.test('among many urgent ones the newest need not wait for all of the others', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 1000, perSecond: 50 } } } })
  await Promise.all(Array.from({ length: 30 }, async (_, n) => await rig.queue.add(purgeJob(urls(60, `flood-${n}-`)))))
  await until(() => rig.emulator.purges().length >= 2)
  const job = await purge(rig, purgeJob([url('newest')]))
  t.equal(job.state, 'succeeded')
  const sent = rig.emulator.purges().flatMap(each => each.objects ?? []).length
  t.ok(sent < 1800, `${sent} of 1801 sent`)
})

t.test('a 429 waits exactly as long as the missing tokens need', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 100, perSecond: 20 } } } })
  t.match(await purge(rig, purgeJob(urls(10))), { state: 'succeeded' })
  rig.emulator.buckets.url.drain(1000)
  const job = await purge(rig, purgeJob(urls(60, 'b')))
  t.match(job, { state: 'succeeded', error: null })
  t.same(statuses(rig), [201, 429, 201, 201], 'a part shows that they are there, and the others follow at once')
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
