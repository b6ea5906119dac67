import t, { type Test } from 'tap'
import { buildApp, type AppOptions } from '../../src/app.ts'
import { testConfig } from '../app.ts'
import { makeDataDir } from '../data-dir.ts'
import { startPostgres } from '../postgres-server.ts'
import { startProcess } from '../process.ts'

const body = { bucket: 'example-assets', key: 'a.css' }
const tokens = 'ops:a-long-secret-for-ops,ci:another-long-secret'

async function start (t: Test, changes: Record<string, string>, options: AppOptions = {}) {
  const app = await buildApp(testConfig({ API_TOKENS: tokens, ...changes }), { logger: false, ...options })
  t.teardown(async () => { await app.close() })
  const call = async (key: string, payload: object = body, { url = '/sync', secret = 'a-long-secret-for-ops', ...more }: { url?: string, secret?: string, prefer?: string } = {}) => {
    const answer = await app.inject({ method: 'POST', url, payload, headers: { authorization: `Bearer ${secret}`, 'idempotency-key': key, ...more } })
    return { status: answer.statusCode, location: answer.headers['location'], ...answer.json() as { id: string, code?: string, job?: { id: string } } }
  }
  const count = async () => (await app.inject({ url: '/jobs?limit=200', headers: { authorization: 'Bearer a-long-secret-for-ops' } })).json().items.length as number
  return { app, call, count }
}

t.test('a repeated request has the same job, and another request needs another key', async t => {
  let now = new Date()
  const { app, call, count } = await start(t, { DATA_DIR: await makeDataDir(t, { busy: true }) }, { now: () => now })
  const first = await call('k1')
  t.equal(first.status, 202)
  t.match(await call('k1'), { status: 202, id: first.id, location: `/jobs/${first.id}` })
  t.equal((await call('k1', { key: 'a.css', bucket: 'example-assets' })).id, first.id, 'the order of members does not matter')
  t.match(await call('k1', { ...body, force: true }), { status: 422, code: 'idempotency_key_reused' })
  t.match(await call('k1', body, { prefer: 'wait=0, handling=strict' }), { status: 504, code: 'not_finished', job: { id: first.id } }, 'a repeat is answered as a first call would be')
  t.not((await call('k2')).id, first.id)
  t.not((await call('k1', body, { url: '/upload' })).id, first.id, 'of another route')
  t.not((await call('k1', body, { secret: 'another-long-secret' })).id, first.id, 'of another token')
  t.equal(await count(), 4)
  t.match(await call('', body), { status: 400, code: 'invalid_request' })
  t.match(await call('k'.repeat(256), body), { status: 400, code: 'invalid_request' })
  t.match(await call('k3', { ...body, bucket: 'other' }), { status: 403 })
  t.match(await call('k3', body), { status: 202 }, 'what was refused has not used its key')

  await app.reload(() => ({ ...testConfig(), tokens: testConfig({ API_TOKENS: tokens }).tokens }))
  now = new Date(now.getTime() + 86_300_000)
  t.equal((await call('k1')).id, first.id)
  now = new Date(now.getTime() + 200_000)
  const later = await call('k1', { ...body, force: true })
  t.equal(later.status, 202, 'after a day the key is free again')
  t.not(later.id, first.id)
  t.equal((await call('k1', { ...body, force: true })).id, later.id)

  const before = await count()
  const answers = await Promise.all(Array.from({ length: 40 }, async (_, n) => await call(`together-${n % 2}`)))
  t.equal(new Set(answers.map(answer => answer.id)).size, 2, 'requests that arrive together have one job between them')
  t.equal(await count(), before + 2)
  const mixed = await Promise.all(Array.from({ length: 10 }, async (_, n) => await call('mixed', { ...body, force: n % 2 === 0 })))
  t.equal(new Set(mixed.filter(answer => answer.status === 202).map(answer => answer.id)).size, 1)
  t.equal(mixed.filter(answer => answer.code === 'idempotency_key_reused').length, 5)
})

t.test('two replicas that get the same request at once store one job', async t => {
  const server = await startPostgres()
  if (server === undefined) {
    t.comment('skipped: PostgreSQL is not installed')
    return
  }
  t.teardown(server.stop)
  const replicas = await Promise.all([1, 2].map(async () => await start(t, { DATABASE_URL: server.url, ROLE: 'web' })))
  const keys = Array.from({ length: 30 }, (_, n) => `key-${n}`)
  const ask = async (order: string[]) => await Promise.all(replicas.flatMap((replica, index) => (index === 0 ? order : order.toReversed()).map(async key => ({ ...await replica.call(key, { ...body, labels: [key] }), asked: key }))))
  const answers = [...await ask(keys), ...await ask(keys)]
  t.ok(answers.every(answer => answer.status === 202))
  for (const key of keys) t.equal(new Set(answers.filter(answer => answer.asked === key).map(answer => answer.id)).size, 1, key)
  t.equal(await replicas[0]?.count(), keys.length)
})

t.test('a process killed between the store and the answer has not stored twice when the call is repeated', async t => {
  const env = {
    S3_BUCKETS: 'example-assets',
    NS_HOSTNAME: 'http://127.0.0.1:1',
    NS_KEYNAME: 'upload',
    NS_KEY: 'a-key-for-tests',
    NS_CP: '123456',
    PURGE_BY: 'none',
    DATA_DIR: await makeDataDir(t, { busy: true })
  }
  const keys = Array.from({ length: 150 }, (_, n) => `key-${n}`)
  const send = async (origin: string, key: string) => {
    const answer = await fetch(`${origin}/sync`, { method: 'POST', body: JSON.stringify({ ...body, key, labels: ['killed'] }), headers: { 'content-type': 'application/json', 'idempotency-key': key } })
    return (await answer.json() as { id: string }).id
  }
  const first = startProcess(env)
  const origin = await first.origin
  let answered = 0
  const before = await Promise.all(keys.map(async key => await send(origin, key).then(id => {
    if (++answered === 40) first.kill('SIGKILL')
    return id
  }, () => undefined)))
  await first.exited
  const second = startProcess(env)
  t.teardown(async () => {
    second.kill('SIGKILL')
    await second.exited
  })
  const again = await second.origin
  for (const [index, key] of keys.entries()) {
    const id = await send(again, key)
    if (before[index] !== undefined && before[index] !== id) t.fail(`${key} has two jobs`)
  }
  const ids = new Set<string>()
  for (let after = ''; ;) {
    const page = await (await fetch(`${again}/jobs?label=killed&limit=200${after}`)).json() as { items: Array<{ id: string }>, next?: string }
    for (const { id } of page.items) ids.add(id)
    if (page.next === undefined) break
    after = `&after=${page.next}`
  }
  t.equal(ids.size, keys.length)
})
