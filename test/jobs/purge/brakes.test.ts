import { sql } from 'kysely'
import t from 'tap'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { oweByEvent, purge, purgeJob, startRig, until, url, urls, type Rig } from './rig.ts'

const log = { info () {}, warn () {}, error () {} }
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })

const byCode = { type: 'cpcode', limited: true } as const
const codes = ({ emulator }: Rig) => emulator.purges().filter(each => each.type === 'cpcode').map(each => each.objects?.join())

t.test('events purge a whole CP code so often an hour; more is merged into the next, and the jobs say so', async t => {
  const rig = await startRig(t, { store, planner: { cpCodesPerHour: 2 } })
  for (let n = 0; n < 2; n++) {
    const [id = ''] = await oweByEvent(store, [77], byCode)
    t.match(await rig.queue.wait(id, 10_000), { state: 'succeeded' })
  }
  const late = await oweByEvent(store, [77, 77, 78], byCode)
  t.match(await rig.queue.wait(late[2] as string, 10_000), { state: 'succeeded' }, 'another CP code is not held back')
  await until(async () => (await rig.queue.find(late[1] as string))?.next_attempt_at !== null)
  t.match(await rig.queue.find(late[0] as string), { state: 'settling', timeline: [{ step: 'held_back', detail: /CP code 77 2 times within the hour/ }] })
  t.same(codes(rig), ['77', '77', '78'])
  await sql`update purges set accepted_at = accepted_at - interval '1 hour'`.execute(store.kysely)
  await sql`update debts set due_at = now()`.execute(store.kysely)
  for (const id of late) t.match(await rig.queue.wait(id, 10_000), { state: 'succeeded', next_attempt_at: null })
  t.same(codes(rig), ['77', '77', '78', '77'])
})

t.test('a purge that somebody asked for is not limited, does not count, and takes along what events wait for', async t => {
  const rig = await startRig(t, { store, planner: { cpCodesPerHour: 1 } })
  for (let n = 0; n < 3; n++) t.match(await purge(rig, purgeJob([77], { by: 'cpcode' })), { state: 'succeeded' })
  const [first = ''] = await oweByEvent(store, [77], byCode)
  t.match(await rig.queue.wait(first, 10_000), { state: 'succeeded' })
  const [second = ''] = await oweByEvent(store, [77], byCode)
  await until(async () => (await rig.queue.find(second))?.next_attempt_at !== null)
  t.match(await purge(rig, purgeJob([77], { by: 'cpcode' })), { state: 'succeeded' })
  t.match(await rig.queue.find(second), { state: 'succeeded' })
  t.equal(codes(rig).length, 5)
})

t.test('a purge on its way counts as done', async t => {
  const rig = await startRig(t, { store, planner: { cpCodesPerHour: 1 } })
  rig.emulator.faults.add({ times: 1, latencyMs: 1500 })
  await oweByEvent(store, [77], byCode)
  await until(() => sql`select from debts where claimed_until is not null`.execute(store.kysely).then(({ rows }) => rows.length > 0))
  await oweByEvent(store, [77], byCode, () => 'default/1/second')
  await sql`update purge_buckets set seen_at = now()`.execute(store.kysely)
  await until(() => codes(rig).length === 1)
  t.same(codes(rig), ['77'])
})

t.test('more URLs than drain in time are replaced by one invalidation of their delivery CP codes', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 100, perSecond: 10 } } }, planner: { escalateMs: 10_000 } })
  await purge(rig, purgeJob([url(1)]))
  const some = await oweByEvent(store, urls(150), { cpCodes: [91, 92] })
  await Promise.all(some.map(async id => await rig.queue.wait(id, 30_000)))
  t.same(codes(rig), [], '150 drain within 10 s')
  const many = await oweByEvent(store, urls(600, 'many'), { cpCodes: [91, 92], repeat: true })
  const others = await oweByEvent(store, [url('no-codes')])
  t.match(await rig.queue.wait(many[0] as string, 20_000), {
    state: 'succeeded',
    purged: { escalated: { cpCodes: [91, 92] }, requests: [{ count: 2 }] },
    timeline: [{ step: 'escalated', detail: /CP code 91, 92/ }, { step: 'purging' }, { step: 'purge_accepted' }, { step: 'succeeded' }]
  })
  t.match(await rig.queue.wait(many[599] as string, 10_000), { state: 'succeeded' })
  t.match(await rig.queue.wait(others[0] as string, 20_000), { state: 'succeeded', purged: { requests: [{ count: Number }] } })
  t.same(codes(rig).map(each => each?.split(',').toSorted().join()), ['91,92'])
  t.ok(rig.complaints.some(each => each.includes('too many URLs wait')))
})

t.test('what another tool took does not drain URLs in time', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 1000, perSecond: 2 } } }, planner: { escalateMs: 10_000 } })
  rig.emulator.buckets.url.drain(1000)
  const many = await oweByEvent(store, urls(200), { cpCodes: [91] })
  t.match(await rig.queue.wait(many[199] as string, 20_000), { state: 'succeeded', purged: { escalated: { cpCodes: [91] } } })
})

t.test('where the CP codes are held back themselves, the URLs go on one by one', async t => {
  const rig = await startRig(t, { store, emulator: { buckets: { url: { size: 100, perSecond: 50 } } }, planner: { escalateMs: 1000, cpCodesPerHour: 1 } })
  const [first = ''] = await oweByEvent(store, [91], byCode)
  await rig.queue.wait(first, 10_000)
  const many = await oweByEvent(store, urls(250), { cpCodes: [91] })
  await Promise.all(many.map(async id => await rig.queue.wait(id, 30_000)))
  t.same(codes(rig), ['91'])
  t.equal(rig.emulator.purges().filter(each => each.type === 'url').flatMap(each => each.objects).length, 250)
})
