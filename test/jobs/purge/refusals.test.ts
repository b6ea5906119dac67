import { sql } from 'kysely'
import t from 'tap'
import { createActs } from '../../../src/jobs/acting/acts.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { oweByEvent, purge, purgeJob, startRig, until, url, urls, type Rig } from './rig.ts'

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

t.test('an object that Fast Purge chokes on does not hold up the others for ever', async t => {
  const rig = await startRig(t, { store })
  await rig.queue.add(purgeJob([url(1), url(2), url(3), url(4)]))
  await sql`update debts set attempts = 6`.execute(store.kysely)
  rig.emulator.faults.add({ times: 1, status: 500, body: '{"httpStatus":500,"title":"internal error"}' })
  // The failure is known a little before it is written down.
  await until(async () => ((await sql`update debts set due_at = now() where due_at > now()`.execute(store.kysely)).numAffectedRows ?? 0n) > 0n)
  await until(() => accepted(rig).length === 4)
  t.same(rig.emulator.purges().map(each => each.objects?.length), [2, 2])
})

t.test('a body that is too large after all is sent in halves', async t => {
  const rig = await startRig(t, { store })
  rig.emulator.faults.add({ times: 1, status: 413, body: '{"httpStatus":413,"title":"request entity too large"}' })
  t.match(await purge(rig, purgeJob(urls(4))), { state: 'succeeded', error: null })
  t.same(rig.emulator.purges().map(each => each.objects?.length), [2, 2])
})

t.test('retried is what was refused, and only that', async t => {
  const hosts = ['www.example.com']
  const rig = await startRig(t, { store, emulator: { hosts, cpCodes: [1] } })
  const acts = createActs({ store, now: () => new Date(), onQueued () {} })
  const bad = 'https://late.example/a.css'
  const [job, codes] = await Promise.all([purge(rig, purgeJob([url(1), bad, url(2)], { network: 'staging' })), purge(rig, purgeJob([1, 2], { by: 'cpcode', action: 'delete' }))])
  t.match([job.state, codes.state], ['failed', 'failed'])
  hosts.push('late.example')
  t.equal(await acts.retryAll({ kinds: ['purge'] }, true), 2)
  await acts.retry(job.id)
  t.match(await rig.queue.wait(job.id, 10_000), { state: 'succeeded', outcome: 'purged', error: null, purged: { refused: undefined, requests: [{ count: 2 }, { count: 1 }] } })
  t.match(rig.emulator.purges().at(-1), { network: 'staging', action: 'invalidate', objects: [bad] })
  t.equal(await acts.retryAll({ kinds: ['purge'] }, false), 1)
  t.match(await rig.queue.wait(codes.id, 10_000), { state: 'failed', purged: { refused: [{ object: 2 }] } }, 'still refused')
  t.match(rig.emulator.log.at(-1), { status: 403, action: 'delete', type: 'cpcode', objects: [2] })
  await t.rejects(acts.retry(job.id), { code: 'wrong_state' })
})
