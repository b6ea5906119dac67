import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { sql } from 'kysely'
import t from 'tap'
import { bucket, startSandbox } from '../../../sandbox/sandbox.ts'
import { buildApp } from '../../../src/app.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'
import { openEvents } from '../../event-source.ts'

const sandbox = await startSandbox()
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const app: FastifyInstance = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0' }), { logger: false })
await app.listen({ port: 0 })
const origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})

async function sync (key: string, body = 'x'): Promise<string> {
  await sandbox.s3.put(bucket, key, body)
  return (await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key } })).json().id
}

t.test('a job is followed from its present state to its end, and the stream ends with it', async t => {
  const id = await sync('a.css')
  const source = await openEvents(`${origin}/jobs/${id}/events`)
  t.match(source.headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-request-id': /./ })
  await source.ended
  t.equal(source.events.at(-1)?.name, 'succeeded')
  t.match(source.events.at(-1)?.data, { id, state: 'succeeded', outcome: 'uploaded', timeline: [{ step: 'queued' }] })
  t.ok(source.events.every((event, index) => index === 0 || event.id > (source.events[index - 1]?.id ?? 0)), 'ids count up')

  const again = await openEvents(`${origin}/jobs/${id}/events`)
  await again.ended
  t.same(again.events.map(event => event.name), ['succeeded'], 'of what has ended the end is told')
  const last = again.events[0]?.id ?? 0
  t.equal((await openEvents(`${origin}/jobs/${id}/events`, { 'last-event-id': String(last) })).status, 204, 'and once it was seen, there is nothing to come back for')
  for (const wrong of [String(last + 1), 'abc', '-1', '']) {
    const other = await openEvents(`${origin}/jobs/${id}/events`, { 'last-event-id': wrong })
    await other.ended
    t.same(other.events.map(event => event.name), ['succeeded'])
  }
  t.equal((await openEvents(`${origin}/jobs/01a20b7c-f0ea-733e-b2cc-499eb9104510/events`)).status, 404)
  t.equal((await openEvents(`${origin}/jobs/x/events`)).status, 400)
  t.equal((await app.inject({ method: 'HEAD', url: `/jobs/${id}/events` })).statusCode, 200)
})

t.test('progress comes at most twice a second, and a reader that comes back misses nothing that matters', async t => {
  sandbox.s3.putSynthetic(bucket, 'slow.bin', { sizeBytes: 6_000_000, seed: 1 })
  const remove = sandbox.s3.faults.add({ match: { method: 'GET', path: /slow\.bin/ }, slow: { bytesPerSecond: 2_000_000 } })
  const { id } = (await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'slow.bin' } })).json() as { id: string }
  const openedAt = performance.now()
  const first = await openEvents(`${origin}/jobs/${id}/events`)
  const progress = await first.find(event => event.name === 'progress' && Number(event.data['sentBytes']) > 1_000_000)
  t.equal(progress.data.state, 'uploading')
  t.ok(first.events.filter(event => event.name === 'progress').length <= 2 * (performance.now() - openedAt) / 1000 + 1)
  first.close()
  const second = await openEvents(`${origin}/jobs/${id}/events`, { 'last-event-id': String(progress.id) })
  await second.ended
  remove()
  t.ok(second.events.every(event => event.id > progress.id))
  t.match(second.events.map(event => event.name), ['uploading'], 'what comes first is named by its state')
  t.equal(second.events.at(-1)?.name, 'succeeded')
})

t.test('all jobs are followed from those under way, without end, and from where a reader stopped', async t => {
  sandbox.s3.putSynthetic(bucket, 'under-way.bin', { sizeBytes: 3_000_000, seed: 1 })
  const remove = sandbox.s3.faults.add({ match: { method: 'GET', path: /under-way\.bin/ }, slow: { bytesPerSecond: 1_000_000 } })
  const { id: slow } = (await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'under-way.bin' } })).json() as { id: string }
  const one = await openEvents(`${origin}/jobs/${slow}/events`)
  await one.find(event => event.name === 'uploading')
  const source = await openEvents(`${origin}/events/stream`)
  t.same((await source.find(() => true)).data.id, slow, 'present state first')
  const quick = await sync('quick.css')
  const end = await source.find(event => event.data.id === quick && event.name === 'succeeded')
  t.equal(end.data['timeline'], undefined)
  await source.find(event => event.data.id === slow && event.name === 'succeeded')
  remove()
  t.ok(source.events.every((event, index) => index === 0 || event.id > (source.events[index - 1]?.id ?? 0)), 'ids count up')
  source.close()

  const missed = await Promise.all(['m1.css', 'm2.css', 'm3.css'].map(async key => await sync(key)))
  for (const id of missed) await app.inject({ url: `/jobs/${id}`, headers: { prefer: 'wait=30' } })
  const back = await openEvents(`${origin}/events/stream`, { 'last-event-id': String(source.events.at(-1)?.id) })
  for (const id of missed) await back.find(event => event.data.id === id && event.name === 'succeeded')
  t.ok(back.events.every(event => event.id > (source.events.at(-1)?.id ?? 0)))
  const made = await openEvents(`${origin}/events/stream`, { 'last-event-id': '999999999999' })
  const later = await sync('later.css')
  await made.find(event => event.data.id === later && event.name === 'succeeded')
  back.close()
  made.close()
})

t.test('a reader that does not read is told the newest when it does, and others are not held up', async t => {
  const slow = await openEvents(`${origin}/events/stream`)
  const fast = await openEvents(`${origin}/events/stream`)
  slow.pause()
  // Much more than the sockets between us hold.
  const bulk = 'x'.repeat(40_000)
  const { store } = app.clients
  await sql`insert into jobs (id, kind, state, request, source, timeline, created_at, finished_at, labels)
    select gen_random_uuid(), 'purge', 'succeeded', '{}', '{"type":"rest"}', '[]', now(), now(), array['bulk', ${bulk}] from generate_series(1, 500)`.execute(store.kysely)
  const last = await sync('after-the-bulk.css')
  await fast.find(event => event.data.id === last && event.name === 'succeeded')
  slow.resume()
  await slow.find(event => event.data.id === last && event.name === 'succeeded')
  t.equal(slow.events.filter(event => (event.data['labels'] as string[])[0] === 'bulk').length, 500, 'and misses none that was read on from the database')
  t.ok(slow.events.every((event, index) => index === 0 || event.id > (slow.events[index - 1]?.id ?? 0)), 'ids count up')
  slow.close()
  fast.close()
})

t.test('many streams are one question to the database, and closing them frees everything', async t => {
  const id = await sync('popular.css')
  const count = async () => Number(/edgeferry_open_streams (\d+)/.exec((await app.inject('/metrics')).body)?.[1])
  const sources = await Promise.all(Array.from({ length: 300 }, async (_, n) => await openEvents(`${origin}/${n % 2 === 0 ? 'events/stream' : `jobs/${id}/events`}`)))
  await Promise.all(sources.filter((_, n) => n % 2 === 1).map(async source => { await source.ended }))
  const next = await sync('popular-too.css')
  await Promise.all(sources.filter((_, n) => n % 2 === 0).map(async source => { await source.find(event => event.data.id === next && event.name === 'succeeded') }))
  while (await count() !== 150) await new Promise(resolve => { setTimeout(resolve, 50) })
  for (const source of sources) source.close()
  while (await count() !== 0) await new Promise(resolve => { setTimeout(resolve, 50) })
  t.pass('all are gone')
})

t.test('a stop ends the streams', async t => {
  const source = await openEvents(`${origin}/events/stream`)
  await app.close()
  await source.ended
  t.equal(source.status, 200)
})
