import { sql } from 'kysely'
import t from 'tap'
import { identityOf, takeHints, forgetHints, type Hint } from '../../../src/jobs/intake/hints.ts'
import { queueOf } from '../../../src/jobs/lanes/lanes.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => { await store.close() })
await store.boss.createQueue(queueOf('default'), { policy: 'stately' })
await store.boss.fetch(queueOf('default'))

const now = new Date('2026-11-23T10:00:00Z')
/** An event of a key: `order` is when it happened, `message` which delivery told of it. */
function event (key: string, order: string | null, message?: string, more: Partial<Hint> = {}): Hint {
  return {
    identities: [...(message === undefined ? [] : [identityOf('message', message)]), ...(order === null ? [] : [identityOf('record', key, order)])],
    job: { kind: 'sync', bucket: 'b', key, rule: 'r', target: 'default', cpCode: 1, path: key, request: { onMissing: 'delete' }, source: { type: 'sns' }, hint: { source: 'aws:s3', order } },
    ...more
  }
}
const take = async (...hints: Hint[]) => await takeHints(store, hints, now)
const verdicts = async (...hints: Hint[]) => (await take(...hints)).map(each => each.verdict)
const setState = async (id: string | undefined, state: string, more = '') => { await sql`update jobs set state = ${state}, error = ${more === '' ? null : JSON.stringify({ code: more })}::jsonb where id = ${id}`.execute(store.kysely) }

t.test('a repeat is dropped, whether the message or only the record is the same', async t => {
  t.same(await verdicts(event('repeat', '0a1', 'm1')), ['stored'])
  t.same(await verdicts(event('repeat', '0a1', 'm1'), event('repeat', '0a1', 'm2'), event('repeat', null, 'm1')), ['duplicate', 'duplicate', 'duplicate'])
  t.same(await verdicts(event('twice', '0a1', 'm3'), event('twice', '0a1', 'm4')), ['stored', 'duplicate'], 'in one batch, too')
})

t.test('what is new among what was seen or overtaken is stored, once', async t => {
  await take(event('mixed seen', '0a1', 'mixed 1'), event('mixed overtaken', '0a2', 'mixed 2'))
  const given = [event('mixed new', '0a1', 'mixed 3'), event('mixed seen', '0a1', 'mixed 1'), event('mixed other', '0a1', 'mixed 4'), event('mixed overtaken', '0a1', 'mixed 5')]
  t.same(await verdicts(...given), ['stored', 'duplicate', 'stored', 'stale'])
  const { rows } = await sql<{ key: string, n: number }>`select key, count(*) as n from jobs where key like 'mixed%' group by key order by key`.execute(store.kysely)
  t.same(rows, ['mixed new', 'mixed other', 'mixed overtaken', 'mixed seen'].map(key => ({ key, n: 1 })))
  t.same(await verdicts(given[0] as Hint, given[2] as Hint), ['duplicate', 'duplicate'])
})

t.test('an earlier event is dropped while the job of a later one is alive or has succeeded', async t => {
  for (const state of ['queued', 'uploading', 'settling', 'held', 'succeeded']) {
    const key = `later ${state}`
    const [later] = await take(event(key, '12f', `${key} 1`))
    await setState(later?.jobId, state)
    t.same(await verdicts(event(key, '12e', `${key} 2`)), ['stale'], state)
    t.same(await verdicts(event(key, '130', `${key} 3`)), ['stored'], `newer than ${state}`)
  }
})

t.test('orders of different lengths compare as numbers', async t => {
  const sortable = (hex: string) => hex.length.toString(16).padStart(2, '0') + hex
  await take(event('length', sortable('fff')))
  t.same(await verdicts(event('length', sortable('1000'))), ['stored'])
  t.same(await verdicts(event('length', sortable('ffe'))), ['stale'])
})

t.test('a repeat of what failed or was cancelled revives its job', async t => {
  for (const state of ['failed', 'cancelled']) {
    const [first] = await take(event(`dead ${state}`, '0a1', `dead ${state}`))
    await setState(first?.jobId, state, 'purge_refused')
    t.same(await take(event(`dead ${state}`, '0a1', `dead ${state}`)), [{ verdict: 'revived', jobId: first?.jobId }])
    t.match(await store.kysely.selectFrom('jobs').selectAll().where('id', '=', first?.jobId ?? '').executeTakeFirst(), { state: 'queued', error: null, attempts: 0, finished_at: null })
  }
})

t.test('a repeat of what failed is dropped once a later event has its job', async t => {
  const [first] = await take(event('gone', '0a1', 'gone 1'))
  await setState(first?.jobId, 'failed')
  await take(event('gone', '0a2', 'gone 2'))
  t.same(await verdicts(event('gone', '0a1', 'gone 1')), ['stale'])
})

t.test('what gives no order and no name is always new', async t => {
  t.same(await verdicts(event('bare', null), event('bare', null)), ['stored', 'stored'])
})

t.test('a restored object wakes the job that failed because it was archived, and makes none', async t => {
  const restored = () => ({ ...event('ice', null), identities: [], wakesArchived: true as const })
  t.same(await verdicts(restored()), ['ignored'])
  const [first] = await take(event('ice', '0a1'))
  await setState(first?.jobId, 'failed', 'object_archived')
  t.same(await take(restored()), [{ verdict: 'revived', jobId: first?.jobId }])
  t.same(await verdicts(restored()), ['ignored'])
})

t.test('what was refused for its key is stored once and never revived', async t => {
  const refused = (): Hint => ({ identities: [identityOf('refused')], job: { kind: 'sync', key: 'a//b', request: {}, source: { type: 'sns' }, problem: { type: 'about:blank', title: '', status: 400, detail: 'no', code: 'key_not_mappable' } } })
  t.same(await verdicts(refused()), ['stored'])
  t.same(await verdicts(refused()), ['duplicate'])
})

t.test('a failure anywhere in the transaction leaves nothing of it', async t => {
  const unkept = { ...event('lost', '0a1', 'lost'), identities: [identityOf('lost'), 'no digest'] }
  await t.rejects(take(unkept), /invalid input syntax for type uuid/)
  t.same(await store.kysely.selectFrom('jobs').select('id').where('key', '=', 'lost').execute(), [])
  t.same(await verdicts(event('lost', '0a1', 'lost')), ['stored'])
})

t.test('old events are forgotten', async t => {
  await take(event('old', null, 'old'))
  await forgetHints(store, new Date(now.getTime() + 1))
  t.same(await verdicts(event('old', null, 'old')), ['stored'])
})
