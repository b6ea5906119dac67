import t from 'tap'
import type { FaultRule } from '../sandbox/kit/faults.ts'
import { bucket, cpCode, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import { laneOf, newJobId } from '../src/jobs/job.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'
import { until } from './process.ts'

/** The promise is made for `DELETES=5000`, which takes a minute or two; fewer show the same. */
const count = Number(process.env['DELETES'] ?? 300)
const perMessage = 100
const limit = 50
const foreign = 3
t.setTimeout(600_000)

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const dir = await makeDataDir(t)
const sandbox = await startSandbox()
const { s3, netstorage, fastPurge } = sandbox
// All of it happens within one minute, however slow the machine is.
const now = new Date()
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: dir, PURGE_REPEAT_SECONDS: '0', RETRY_HOURS: '0', UPLOAD_CONCURRENCY: '32', DELETE_LIMIT_PER_MINUTE: String(limit) }), { logger: false, now: () => now })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const { store } = app.clients

const keys = Array.from({ length: count }, (_, n) => `many/${n}.js`)
const lost = Array.from({ length: 20 }, (_, n) => `lost/${n}.js`)
const theirs = Array.from({ length: foreign }, (_, n) => `theirs/${n}.js`)
/** What was copied once: it is in the ledger and on NetStorage, and S3 holds it no more. */
for (let all = [...keys, ...lost]; all.length > 0; all = all.slice(500)) {
  await store.kysely.insertInto('objects').values(all.slice(0, 500).map(key => ({
    lane: laneOf('default', cpCode, key), target: 'default', cp_code: cpCode, path: key, bucket, key, present: true, mtime: 1, committed_at: now, job_id: newJobId(now.getTime())
  }))).execute()
}
for (const key of [...keys, ...lost, ...theirs]) netstorage.store.put(`/${cpCode}/${key}`, 'x')

const left = (folder: string) => netstorage.store.names(`/${cpCode}/${folder}/`).length
async function states (prefix: string): Promise<Record<string, number>> {
  const rows = await store.kysely.selectFrom('jobs').select(eb => ['state', eb.fn.countAll<number>().as('count')]).where('key', 'like', `${prefix}/%`).groupBy('state').execute()
  return Object.fromEntries(rows.map(row => [row.state, Number(row.count)]))
}
async function tellDeleted (deleted: string[], sequencer: string): Promise<number> {
  const answer = await app.inject({
    method: 'POST',
    url: '/events',
    payload: { Records: deleted.map(key => ({ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectRemoved:Delete', s3: { bucket: { name: bucket }, object: { key, sequencer } } })) }
  })
  return answer.json().verdicts.stored as number
}

t.test('a bucket that is gone or hides what is missing, and an endpoint that is no S3, delete nothing', async t => {
  const answers: Array<[FaultRule, string]> = [
    [{ status: 404, body: '<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>' }, 'bucket_not_found'],
    [{ status: 403, body: '<Error><Code>AccessDenied</Code><Message>no</Message></Error>' }, 's3_access_denied'],
    [{ status: 404, body: '<html><h1>404 Not Found</h1></html>', headers: { 'content-type': 'text/html' } }, 's3_refused'],
    [{ status: 404, body: '' }, 's3_refused'],
    [{ status: 301, body: '<Error><Code>PermanentRedirect</Code><Message>no</Message></Error>' }, 's3_refused'],
    [{ status: 503, body: '' }, 's3_unavailable'],
    [{ reset: 'before' }, 's3_unavailable']
  ]
  for (const [index, [rule, code]] of answers.entries()) {
    const mend = s3.faults.add({ match: { method: 'GET', path: /\/lost\// }, ...rule })
    t.equal(await tellDeleted(lost, `${index + 1}A`), lost.length)
    await until(async () => (await states('lost'))['failed'] === lost.length * (index + 1), `all fail with ${code}`)
    const { items } = (await app.inject(`/jobs?state=failed&prefix=lost/&limit=${lost.length}`)).json() as { items: Array<{ error: { code: string } }> }
    t.same(new Set(items.map(job => job.error.code)), new Set([code]))
    mend()
  }
  t.equal(left('lost'), lost.length)
  t.same(netstorage.log.filter(each => each.action === 'delete'), [])
})

t.test('of many deletes within a minute no more than the limit are executed, and none is forgotten', async t => {
  for (let n = 0; n < count; n += perMessage) t.equal(await tellDeleted(keys.slice(n, n + perMessage), '0A'), perMessage)
  t.equal(await tellDeleted(theirs, '0A'), foreign)
  await until(async () => { const { held = 0, succeeded = 0 } = await states('many'); return held + succeeded === count }, 'every delete is executed or held', 300_000, 100)
  t.same(await states('many'), { held: count - limit, succeeded: limit })
  t.equal(left('many'), count - limit)
  const { items } = (await app.inject('/jobs?state=held&prefix=many/&limit=200')).json() as { items: Array<{ error: { code: string } }> }
  t.ok(items.every(job => job.error.code === 'delete_limit'))
})

t.test('one call releases all of them, and what others put there is still not touched', async t => {
  const answer = await app.inject({ method: 'POST', url: '/jobs/retry', payload: { filter: { state: ['held'], prefix: 'many/' } } })
  t.same(answer.json(), { count: count - limit })
  await until(async () => (await states('many'))['succeeded'] === count, 'all of them are executed', 300_000, 100)
  t.equal(left('many'), 0)
  const purged = new Set(fastPurge.purges().filter(each => each.action === 'delete').flatMap(each => each.objects ?? []))
  t.equal(purged.size, count)
  t.ok(fastPurge.log.every(each => each.status === 201))
  t.same(await states('theirs'), { held: foreign })
  t.equal(left('theirs'), foreign)
})

t.test('what is gone from NetStorage already is purged with delete all the same', async t => {
  const sent = () => fastPurge.purges().filter(each => each.objects?.some(object => String(object).includes('/gone/')))
  t.equal(await tellDeleted(['gone/told.js'], '0A'), 1)
  t.match((await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'gone/asked.js', onMissing: 'delete' }, headers: { prefer: 'wait=50' } })).json(), { state: 'succeeded', purge: { action: 'delete' } })
  await until(async () => (await states('gone'))['succeeded'] === 2, 'both are purged')
  t.same(new Set(sent().map(each => each.action)), new Set(['delete']))
})
