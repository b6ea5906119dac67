import { sql } from 'kysely'
import t from 'tap'
import { callIn, owe, priorities, restPriority } from '../../../src/jobs/debts/owe.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { letPass, oweByEvent, purge, purgeJob, startRig, until, url, urls } from '../purge/rig.ts'

const log = { info () {}, warn () {}, error () {} }
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })
const debts = async () => await store.kysely.selectFrom('debts').selectAll().orderBy('id').execute()

t.test('nothing is purged before the copy has settled, and the jobs end when it has', async t => {
  const rig = await startRig(t, { store })
  const [id = ''] = await oweByEvent(store, [url(1)], { delayMs: 20_000 })
  await purge(rig, purgeJob([url(2)]))
  t.match(await rig.queue.find(id), { state: 'settling' })
  t.same(rig.emulator.purges().flatMap(each => each.objects), [url(2)])
  await letPass(store, 20_000)
  t.match(await rig.queue.wait(id, 10_000), { state: 'succeeded', outcome: 'purged', purged_at: Date })
  t.same(await debts(), [])
})

t.test('a key rewritten every 2 seconds is purged within 30 seconds of its first commit, and again after its last', async t => {
  const rig = await startRig(t, { store })
  const ids: string[] = []
  for (let second = 0; second <= 30; second += 2) {
    ids.push(...await oweByEvent(store, [url(1)], { delayMs: 5000 }))
    if (second < 28) t.same(rig.emulator.purges(), [], `nothing after ${second} s`)
    for (const debt of await debts()) t.ok(Number(debt.due_at) - Number(debt.first_at) < 29_000, 'time is left to wait for company and for the answer')
    await letPass(store, 2000)
  }
  t.match(await rig.queue.wait(ids[0] as string, 10_000), { state: 'succeeded' })
  t.match(await rig.queue.find(ids.at(-1) as string), { state: 'settling' }, 'the last commit has not settled')
  t.match(await debts(), [{ object: url(1) }], 'and goes on being owed')
  await letPass(store, 10_000)
  t.match(await rig.queue.wait(ids.at(-1) as string, 10_000), { state: 'succeeded' })
  t.equal(rig.emulator.purges().length, 2)
})

t.test('what is incurred while a request is on its way is purged once more', async t => {
  const rig = await startRig(t, { store })
  rig.emulator.faults.add({ times: 1, latencyMs: 1000 })
  const { id } = await rig.queue.add(purgeJob([url(1)]))
  await until(async () => (await debts()).some(debt => debt.claimed_until !== null))
  const second = await purge(rig, purgeJob([url(1)]))
  t.match(await rig.queue.find(id), { state: 'succeeded' })
  t.match(second, { state: 'succeeded' })
  t.equal(rig.emulator.purges().length, 2)
})

t.test('the repeat follows, nobody waits for it, and it has none itself', async t => {
  const rig = await startRig(t, { store, planner: { repeatMs: 60_000 } })
  const [id = ''] = await oweByEvent(store, [url(1)], { repeat: true })
  t.match(await rig.queue.wait(id, 10_000), { state: 'succeeded' })
  t.match(await debts(), [{ repeat: true, priority: priorities.repeat, wants_repeat: false }])
  await oweByEvent(store, [url(1)], { repeat: true })
  await until(() => rig.emulator.purges().length === 2)
  t.match(await debts(), [{ repeat: true }], 'a newer first purge moves the repeat')
  await letPass(store, 60_000)
  await until(async () => (await debts()).length === 0)
  t.same(rig.emulator.purges().map(each => each.objects), [[url(1)], [url(1)], [url(1)]])
})

t.test('repeats wait while tokens are short for first purges, and are dropped when they are too old', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 400, perSecond: 20 } } }, planner: { repeatMs: 600_000 } })
  const first = await oweByEvent(store, urls(300), { repeat: true })
  await rig.queue.wait(first[0] as string, 10_000)
  await oweByEvent(store, urls(200, 'more'))
  await letPass(store, 600_000 + 280_000)
  await until(() => rig.emulator.purges().length >= 4)
  t.notOk(rig.emulator.purges().slice(1).flatMap(each => each.objects).some(object => !String(object).includes('more')))
  t.equal((await debts()).filter(debt => debt.repeat).length, 300, 'they wait')
  await letPass(store, 20_000)
  await until(async () => (await debts()).every(debt => !debt.repeat))
})

t.test('what an upload owes unasked waits for somebody to ask, and then for no longer than it must', async t => {
  const rig = await startRig(t, { store })
  await oweByEvent(store, [url(1), url(2)], { asked: false, jobIds: [] }, () => 'default/1/path')
  t.match(await debts(), [{ due_at: null }, { due_at: null }])
  const [id = ''] = await oweByEvent(store, [url(3)], {}, () => 'default/1/path')
  await rig.queue.wait(id, 10_000)
  t.same(rig.emulator.purges().map(each => each.objects), [[url(3)]])
  const called = await rig.queue.add({ ...purgeJob([url(1)]), target: 'default', cpCode: 1, path: 'path' })
  await rig.queue.wait(called.id, 10_000)
  t.same(rig.emulator.purges().at(-1)?.objects?.toSorted(), [url(1), url(2)])
  t.same(await debts(), [])
})

t.test('debts unite: the strongest action, the latest moment, the most urgent caller', async t => {
  await startRig(t, { store, planner: { coalesceMs: 60_000 } })
  const common = { lane: 'l', edgegrid: 'default', network: 'production', type: 'cpcode', objects: [1], repeat: false, jobIds: [] } as const
  await store.withTx(async tx => {
    await owe(tx, [
      { ...common, objects: [1, 1], action: 'invalidate', asked: false, delayMs: 0, priority: priorities.event, limited: true, jobIds: [] },
      { ...common, objects: [1], action: 'delete', asked: true, delayMs: 9000, priority: priorities.urgent, limited: true, repeat: true, jobIds: [] },
      { ...common, objects: [2], action: 'invalidate', asked: true, delayMs: 0, priority: priorities.bulk, jobIds: [] }
    ])
    await owe(tx, [])
  })
  const [one, two] = await debts()
  t.match(one, { object: '1', action: 'delete', priority: 0, limited: true, wants_repeat: true, version: 1 })
  t.match(two, { object: '2', limited: false, priority: 1 })
  await store.withTx(async tx => {
    t.same(await callIn(tx, []), new Set())
    t.same(await callIn(tx, [{ lane: 'l', jobId: '00000000-0000-7000-8000-000000000001', priority: priorities.urgent }, { lane: 'other', jobId: '00000000-0000-7000-8000-000000000002', priority: 2 }]), new Set(['l']))
  })
  t.match(await debts(), [{ limited: false, version: 2 }, { priority: 0, version: 2 }])
  t.same([restPriority(100), restPriority(101)], [priorities.urgent, priorities.bulk])
})

t.test('kill -9 loses no debt: what a dead planner held is taken over when its claim ends', async t => {
  const rig = await startRig(t, { store, planner: { coalesceMs: 0 } })
  rig.emulator.faults.add({ times: 1, hang: 'after-commit' })
  const { id } = await rig.queue.add(purgeJob([url(1)]))
  await until(() => rig.emulator.purges().length === 1)
  // Nothing of the answer was booked; another planner finds the debt as the dead one left it.
  await sql`update purge_lanes set holder = gen_random_uuid(), held_until = now()`.execute(store.kysely)
  await letPass(store, 15_000)
  t.match(await rig.queue.wait(id, 20_000), { state: 'succeeded' })
  t.equal(rig.emulator.purges().length, 2, 'an accepted purge may be repeated')
})
