import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { embedded } from '../../src/store/embedded.ts'
import type { Store } from '../../src/store/store.ts'
import { makeDataDir } from '../data-dir.ts'
import { until } from '../process.ts'

const log = { info () {}, warn () {}, error () {} }
const pause = (name: string) => ({ name, reason: 'r', since: new Date(0), next_probe_at: new Date(0) })

t.test('a database that panics says so at once, to those who wait and to those who come later', async t => {
  const dir = await makeDataDir(t)
  const death = Promise.withResolvers<Error>()
  const store = await embedded({ dir, log, onDeath: death.resolve })
  t.teardown(async () => { await store.close() })
  rmSync(join(dir, 'database/pg_wal'), { recursive: true })
  await sql`select pg_switch_wal()`.execute(store.kysely)
  const write = async (name: string) => await store.kysely.insertInto('pauses').values(pause(name)).execute()
  const waiting: Array<Promise<unknown>> = [write('first'), write('second'), store.withTx(async tx => await tx.kysely.selectFrom('pauses').selectAll().execute())]
  for (const each of waiting) await t.rejects(each, /the database thread ended/)
  t.match(await death.promise, { message: /the database thread ended/ })
  await t.rejects(store.ping(), /the database thread ended/)
})

/** It looks once enough was written since it looked last; what changes no row makes no transaction older. */
async function untilItLooks (store: Store, found: () => Promise<boolean>, what: string): Promise<void> {
  await until(async () => {
    for (let n = 0; n < 20; n++) await sql`delete from deletes where false`.execute(store.kysely)
    return await found()
  }, what, 120_000, 100)
}

t.test('dead rows are given back, and the planner learns of tables that grew: each table when it needs it', async t => {
  const store = await embedded({ dir: await makeDataDir(t), log, deadRows: 50 })
  t.teardown(async () => { await store.close() })
  const counts = async () => {
    const { rows } = await sql<{ relname: string, vacuum_count: number, analyze_count: number }>`select relname, vacuum_count, analyze_count from pg_stat_user_tables where schemaname = 'edgeferry'`.execute(store.kysely)
    return Object.fromEntries(rows.map(row => [row.relname, [row.vacuum_count, row.analyze_count]]))
  }
  await sql`insert into deletes select now() from generate_series(1, 110)`.execute(store.kysely)
  await sql`delete from deletes`.execute(store.kysely)
  await untilItLooks(store, async () => (await counts())['deletes']?.[0] === 1, 'the dead rows are given back')
  await sql`insert into hints select gen_random_uuid(), gen_random_uuid(), now() from generate_series(1, 250)`.execute(store.kysely)
  await sql`insert into purge_objects select n, gen_random_uuid() from generate_series(1, 110) as n`.execute(store.kysely)
  await untilItLooks(store, async () => (await counts())['hints']?.[1] === 1, 'the planner knows of the hints')
  const { deletes, hints, purge_objects: few, jobs } = await counts()
  t.same({ deletes, hints, few, jobs }, { deletes: [1, 1], hints: [0, 1], few: [0, 0], jobs: [0, 0] })
})

t.test('tables that no transaction changed for long are frozen, once', async t => {
  const store = await embedded({ dir: await makeDataDir(t), log, freezeAge: 200 })
  t.teardown(async () => { await store.close() })
  // As many pages as all can see, which a VACUUM that is not told to freeze passes over.
  await sql`insert into hints select gen_random_uuid(), gen_random_uuid(), now() from generate_series(1, 20000)`.execute(store.kysely)
  await sql`vacuum hints`.execute(store.kysely)
  const count = async (what: 'vacuum' | 'analyze', table: string) => (await sql<{ n: number }>`select ${sql.ref(`${what}_count`)} as n from pg_stat_user_tables where relname = ${table}`.execute(store.kysely)).rows[0]?.n ?? 0
  const oldest = async () => (await sql<{ age: number }>`select max(age(relfrozenxid)) as age from pg_class where relkind in ('r', 't')`.execute(store.kysely)).rows[0]?.age ?? Infinity
  for (let n = 0; n < 250; n++) await sql`insert into deletes values (now())`.execute(store.kysely)
  await untilItLooks(store, async () => await oldest() < 200, 'all are frozen')
  t.equal(await count('vacuum', 'hints'), 2)
  const before = await count('analyze', 'purge_objects')
  await sql`insert into purge_objects select n, gen_random_uuid() from generate_series(1, 1500) as n`.execute(store.kysely)
  await untilItLooks(store, async () => await count('analyze', 'purge_objects') > before, 'it looked again')
  t.equal(await count('vacuum', 'hints'), 2, 'and found nothing old')
})

t.test('it has no database but its own: one that nobody vacuums would bound how many transactions there may be', async t => {
  const dir = await makeDataDir(t)
  const store = await embedded({ dir, log })
  t.teardown(async () => { await store.close() })
  t.same((await sql`select datname from pg_database`.execute(store.kysely)).rows, [{ datname: 'postgres' }])
})

t.test('a script that fails in the transaction it began spoils nothing for the next', async t => {
  const store = await embedded({ dir: await makeDataDir(t), log })
  t.teardown(store.close)
  await t.rejects(sql.raw('begin; select nonsense; commit').execute(store.kysely), { code: '42703' })
  t.same((await sql`select 1 as one`.execute(store.kysely)).rows, [{ one: 1 }])
})

t.test('whoever is waited for goes ahead of others that wait for the only session', async t => {
  const store = await embedded({ dir: await makeDataDir(t), log })
  t.teardown(async () => { await store.close() })
  const gate = Promise.withResolvers<void>()
  const order: string[] = []
  const work = async (name: string, goesAhead: boolean, until?: Promise<void>) => {
    await store.withTx(async tx => {
      await sql`select 1`.execute(tx.kysely)
      order.push(name)
      await until
    }, { goesAhead })
  }
  const all = [work('holder', false, gate.promise), work('copy 1', false), work('copy 2', false), work('caller 1', true), work('caller 2', true), work('copy 3', false)]
  gate.resolve()
  await Promise.all(all)
  t.same(order, ['holder', 'caller 1', 'caller 2', 'copy 1', 'copy 2', 'copy 3'])
})

/** A store whose only session is held until `open`, and the order in which those that wait for it had their turns. */
async function hold (t: Test) {
  const store = await embedded({ dir: await makeDataDir(t), log })
  t.teardown(async () => { await store.close() })
  const gate = Promise.withResolvers<void>()
  const order: string[] = []
  const all = [store.withTx(async tx => {
    await sql`select 1`.execute(tx.kysely)
    await gate.promise
  })]
  return {
    order,
    copy (name: string) {
      all.push(store.withTx(async tx => {
        await sql`select 1`.execute(tx.kysely)
        order.push(name)
      }))
    },
    read (name: string) {
      all.push(store.goAhead(async () => {
        await sql`select 1`.execute(store.kysely)
        order.push(name)
      }))
    },
    async open () {
      gate.resolve()
      await Promise.all(all)
    }
  }
}

t.test('however many are waited for, the others have their turn between them', async t => {
  const { order, copy, read, open } = await hold(t)
  for (let n = 0; n < 2; n++) copy('copy')
  for (let n = 0; n < 10; n++) read('read')
  await open()
  t.match(order.slice(0, 4), ['read', 'read', 'read', 'read'], 'they go ahead')
  t.ok(order.indexOf('copy') <= 5 && order.lastIndexOf('copy') <= 10, `${order.join()}`)
})
