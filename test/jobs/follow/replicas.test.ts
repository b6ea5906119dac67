import type { AddressInfo } from 'node:net'
import { sql, type Transaction } from 'kysely'
import t from 'tap'
import { bucket, startSandbox } from '../../../sandbox/sandbox.ts'
import { buildApp } from '../../../src/app.ts'
import { createFeed } from '../../../src/jobs/follow/feed.ts'
import { newJobId } from '../../../src/jobs/job.ts'
import type { Tables } from '../../../src/store/tables.ts'
import { testConfig } from '../../app.ts'
import { openEvents } from '../../event-source.ts'
import { startPostgres } from '../../postgres-server.ts'

const server = await startPostgres()
if (server === undefined) t.comment('skipped: PostgreSQL is not installed')
else {
  const sandbox = await startSandbox()
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
  const variables = { ...sandbox.env, DATABASE_URL: server.url, PURGE_REPEAT_SECONDS: '0' }
  const web = await buildApp(testConfig({ ...variables, ROLE: 'web' }), { logger: false })
  const worker = await buildApp(testConfig({ ...variables, ROLE: 'worker' }), { logger: false })
  await web.listen({ port: 0 })
  const origin = `http://127.0.0.1:${(web.server.address() as AddressInfo).port}`
  t.teardown(async () => {
    await web.close()
    await worker.close()
    await sandbox.close()
    await server.stop()
  })

  t.test('who follows a job at one replica sees what a worker on another does', async t => {
    const all = await openEvents(`${origin}/events/stream`)
    await sandbox.s3.put(bucket, 'a.css', 'x')
    const { id } = (await web.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'a.css' } })).json() as { id: string }
    const one = await openEvents(`${origin}/jobs/${id}/events`)
    await one.ended
    t.equal(one.events.at(-1)?.name, 'succeeded')
    await all.find(event => event.data.id === id && event.name === 'succeeded')
    all.close()
    t.match((await web.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'a.css' }, headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded' })
  })

  t.test('a change that commits after a later one is told all the same, and in its place', async t => {
    const { store } = web.clients
    const feed = createFeed({ store, log: { warn () {} } })
    t.teardown(feed.close)
    const told: string[] = []
    const seen = new Map<string, () => void>()
    const leave = await feed.watchAll(rows => { for (const { id } of rows) { told.push(id); seen.get(id)?.() } })
    const insert = async (kysely: Transaction<Tables> | typeof store.kysely, id: string) => {
      await kysely.insertInto('jobs').values({ id, kind: 'purge', state: 'succeeded', request: '{}', source: '{"type":"rest"}', timeline: '[]', created_at: new Date() } as never).execute()
    }
    const [early, late] = [newJobId(Date.now()), newJobId(Date.now())]
    const both = Promise.all([early, late].map(async id => { await new Promise<void>(resolve => { seen.set(id, resolve) }) }))
    await store.kysely.transaction().execute(async tx => {
      await insert(tx, early)
      await insert(store.kysely, late)
      // Long enough for several looks.
      await sql`select pg_sleep(0.5)`.execute(store.kysely)
      t.same(told.filter(id => id === late), [], 'nothing is told that something lower may still precede')
    })
    await both
    t.same(told.filter(id => id === early || id === late), [early, late])
    leave()
  })

  t.test('a transaction that hangs does not hold the others up for ever, and its job is found later', async t => {
    const { store } = web.clients
    const feed = createFeed({ store, log: { warn () {} } })
    t.teardown(feed.close)
    const hung = newJobId(Date.now())
    const quick = newJobId(Date.now())
    const row = (id: string) => ({ id, kind: 'purge', state: 'succeeded', request: '{}', source: '{"type":"rest"}', timeline: '[]', created_at: new Date() }) as never
    const found = { quick: Promise.withResolvers<void>(), hung: Promise.withResolvers<void>() }
    const leaves = [await feed.watch(quick, () => { found.quick.resolve() }), await feed.watch(hung, () => { found.hung.resolve() })]
    await store.kysely.transaction().execute(async tx => {
      await tx.insertInto('jobs').values(row(hung)).execute()
      await store.kysely.insertInto('jobs').values(row(quick)).execute()
      await found.quick.promise
    })
    await found.hung.promise
    for (const leave of leaves) leave()
    t.pass('both were told')
  })

  t.test('a database that goes away is asked again until it is back', async t => {
    let fail = true
    const { kysely } = web.clients.store
    const flaky = createFeed({
      store: { ...web.clients.store, get kysely () { if (fail) throw new Error('away'); return kysely } },
      log: { warn () { fail = false } }
    })
    t.teardown(flaky.close)
    await t.rejects(flaky.watch('x', () => {}), /away/)
    fail = false
    const id = newJobId(Date.now())
    const told = Promise.withResolvers<void>()
    const leave = await flaky.watch(id, () => { told.resolve() })
    fail = true
    await kysely.insertInto('jobs').values({ id, kind: 'purge', state: 'succeeded', request: '{}', source: '{"type":"rest"}', timeline: '[]', created_at: new Date() } as never).execute()
    await told.promise
    leave()
    t.pass('told')
  })
}
