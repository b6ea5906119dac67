import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import { embedded } from '../../src/store/embedded.ts'
import { postgres } from '../../src/store/postgres.ts'
import type { Store, Tx } from '../../src/store/store.ts'
import { baselineFlags, stayAtBaseline } from '../baseline.ts'
import { makeDataDir } from '../data-dir.ts'
import { startPostgres } from '../postgres-server.ts'
import { inherited } from '../process.ts'
import { scratch } from '../scratch.ts'

const log = { info () {}, warn () {}, error () {} }
stayAtBaseline()
const dir = scratch('store')
t.teardown(() => { rmSync(dir, { recursive: true }) })

const pause = (name: string) => ({ name, reason: 'r', since: new Date(0), next_probe_at: new Date(0) })

function contract (t: Test, store: Store): void {
  t.test('a transaction commits our rows and pg-boss jobs together, or neither', async t => {
    await store.boss.createQueue('contract', { policy: 'stately' })
    await store.boss.fetch('contract')
    await store.withTx(async tx => {
      await tx.kysely.insertInto('pauses').values(pause('kept')).execute()
      await store.boss.insert('contract', [{ singletonKey: 'kept', data: { n: 1 } }], { db: tx.db })
    })
    await t.rejects(store.withTx(async tx => {
      await tx.kysely.insertInto('pauses').values(pause('lost')).execute()
      await store.boss.insert('contract', [{ singletonKey: 'lost', data: { n: 2 } }], { db: tx.db })
      throw new Error('no')
    }), /no/)
    t.same((await store.kysely.selectFrom('pauses').select('name').execute()).map(row => row.name), ['kept'])
    const jobs = await store.boss.fetch<{ n: number }>('contract', { batchSize: 10 })
    t.same(jobs.map(job => job.data.n), [1])
    await store.boss.complete('contract', { id: jobs[0]?.id ?? '', retryCount: 0 })
  })

  t.test('one wake-up waits per key, and none is fetched while one of its key is active', async t => {
    const send = async () => await store.boss.insert('contract', [{ singletonKey: 'one' }])
    await send()
    await send()
    const [first, ...others] = await store.boss.fetch('contract', { batchSize: 10 })
    t.same(others, [])
    await send()
    t.same(await store.boss.fetch('contract', { batchSize: 10 }), [])
    await store.boss.complete('contract', { id: first?.id ?? '', retryCount: first?.retryCount ?? 0 })
    // Upkeep may hold the row for a moment, and what is locked is passed over.
    let found = await store.boss.fetch('contract', { batchSize: 10 })
    for (let tries = 0; found.length === 0 && tries < 100; tries++) found = await store.boss.fetch('contract', { batchSize: 10 })
    t.equal(found.length, 1)
  })

  t.test('big integers are numbers, times are dates, JSON is parsed, arrays are arrays', async t => {
    const { rows } = await sql`select 9007199254740991::int8 as big, count(*) as n, '2026-01-02T03:04:05.678Z'::timestamptz as at,
      '{"a": [1]}'::jsonb as json, ${['x', 'y']}::text[] as list from (values (1)) as one`.execute(store.kysely)
    t.same(rows, [{ big: 9007199254740991, n: 1, at: new Date('2026-01-02T03:04:05.678Z'), json: { a: [1] }, list: ['x', 'y'] }])
  })

  t.test('a failed statement spoils nothing for the next caller', async t => {
    await t.rejects(sql`select nonsense`.execute(store.kysely), { code: '42703' })
    await t.rejects(store.withTx(async tx => { await sql`select nonsense`.execute(tx.kysely) }))
    t.same((await sql`select 1 as one`.execute(store.kysely)).rows, [{ one: 1 }])
  })

  t.test('statements of one trip are answered in order, and commit with the last', async t => {
    const answers = await store.withTx(async tx => {
      const trip = tx.trip()
      const first = trip.add(sql<{ n: number }>`select 1 as n`)
      const inserted = trip.boss(async db => await store.boss.insert('contract', [{ singletonKey: 'trip' }], { db, returnId: true }))
      const second = trip.add(tx.kysely.insertInto('pauses').values(pause('trip')).returning('name'))
      await trip.send({ commit: true })
      await t.rejects(sql`select 1`.execute(tx.kysely), /after its commit/)
      return [await first, (await inserted)?.length, await second]
    })
    t.same(answers, [[{ n: 1 }], 1, [{ name: 'trip' }]])
    t.equal((await store.kysely.selectFrom('pauses').select('name').where('name', '=', 'trip').execute()).length, 1)
    const jobs = await store.boss.fetch('contract', { batchSize: 10 })
    t.equal(jobs.length, 1)
    await store.boss.complete('contract', jobs.map(({ id }) => ({ id, retryCount: 0 })))
  })

  t.test('a trip ends at its first error, commits nothing, and whoever packed a part hears of it', async t => {
    let part: Promise<unknown> | undefined
    await t.rejects(store.withTx(async tx => {
      const trip = tx.trip()
      trip.add(tx.kysely.insertInto('pauses').values(pause('before')))
      trip.add(sql`select nonsense`)
      part = trip.add(tx.kysely.insertInto('pauses').values(pause('after')))
      await trip.send({ commit: true })
    }), { code: '42703' })
    await t.rejects(part ?? Promise.resolve(), { code: '42703' })
    t.same(await store.kysely.selectFrom('pauses').select('name').where('name', 'in', ['before', 'after']).execute(), [])
  })

  t.test('a transaction whose statement failed is not committed, though nobody said so', async t => {
    await t.rejects(store.withTx(async tx => {
      await tx.kysely.insertInto('pauses').values(pause('unsaid')).execute()
      await sql`select nonsense`.execute(tx.kysely).catch(() => {})
    }), /failed, and nobody said so/)
    t.same(await store.kysely.selectFrom('pauses').select('name').where('name', '=', 'unsaid').execute(), [])
  })

  t.test('what follows a commit is done after it, never without it, and its failure is no failure of the transaction', async t => {
    const seen: unknown[] = []
    const follow = (tx: Tx) => {
      tx.afterCommit(async kysely => { seen.push(await kysely.selectFrom('pauses').select('name').where('name', '=', 'followed').execute()) })
      tx.afterCommit(async () => { throw new Error('too late') })
    }
    await t.rejects(store.withTx(async tx => {
      follow(tx)
      throw new Error('no')
    }), /no/)
    await store.withTx(async tx => {
      follow(tx)
      await tx.kysely.insertInto('pauses').values(pause('followed')).execute()
    })
    t.same(seen, [[{ name: 'followed' }]])
  })

  t.test('the same statement is right for any parameters, also for null and for as many tables as it meets', async t => {
    const ask = async (value: string | null) => (await sql<{ v: string | null, n: number | null }>`select ${value}::text as v, length(${value}::text) as n`.execute(store.kysely)).rows[0]
    for (const value of ['a', null, '', '\ufeffżółw', 'żółw\ufeff', '{"a"}', 'it\'s']) t.same(await ask(value), { v: value, n: value === null ? null : value.length })
    for (let n = 0; n < 200; n++) t.same((await sql.raw(`select ${n} as n`).execute(store.kysely)).rows, [{ n }])
    t.same(await ask('again'), { v: 'again', n: 5 })
  })

  t.test('concurrent transactions do not mix', async t => {
    await sql`create table if not exists tally (n int)`.execute(store.kysely)
    await sql`insert into tally values (0)`.execute(store.kysely)
    await Promise.all(Array.from({ length: 20 }, async () => {
      await store.withTx(async tx => {
        const { rows } = await sql<{ n: number }>`select n from tally for update`.execute(tx.kysely)
        await sql`update tally set n = ${(rows[0]?.n ?? 0) + 1}::int`.execute(tx.kysely)
      })
    }))
    t.same((await sql`select n from tally`.execute(store.kysely)).rows, [{ n: 20 }])
  })

  t.test('what follows a transaction that could not be committed is none of its business', async t => {
    const refused = store.withTx(async tx => {
      const trip = tx.trip()
      trip.add(tx.kysely.insertInto('pauses').values(pause('refused')))
      trip.add(sql`select edgeferry.refuse('EF001', 'no')`)
      await trip.send({ commit: true })
    })
    const others = Promise.allSettled(Array.from({ length: 3 }, async (_, n) => {
      await store.withTx(async tx => {
        await tx.kysely.insertInto('pauses').values(pause(`behind ${n}`)).execute()
        if (n === 1) throw new Error('this one not')
      })
    }))
    const alone = store.kysely.insertInto('pauses').values(pause('behind, alone')).execute()
    await t.rejects(refused, { code: 'EF001', message: 'no' })
    await alone
    t.same((await others).map(other => other.status), ['fulfilled', 'rejected', 'fulfilled'])
    const { rows } = await sql<{ name: string }>`select name from pauses where name like 'behind%' or name = 'refused' order by name`.execute(store.kysely)
    t.same(rows.map(row => row.name), ['behind 0', 'behind 2', 'behind, alone'])
  })

  t.test('a transaction whose last statements failed has failed, though nobody said so', async t => {
    await t.rejects(store.withTx(async tx => {
      const trip = tx.trip()
      trip.add(sql`select edgeferry.refuse('EF001', 'no')`)
      await trip.send({ commit: true }).catch(() => {})
    }), /nobody said so/)
    await t.resolves(store.ping())
  })

  t.test('nothing of a transaction gets into the next one, however its end is mistreated', async t => {
    const insert = (tx: Tx, name: string) => tx.kysely.insertInto('pauses').values(pause(name))
    const mistreated: Record<string, (tx: Tx, name: string) => Promise<unknown>> = {
      async 'left before the answer to its commit' (tx, name) {
        const trip = tx.trip()
        trip.add(insert(tx, name))
        trip.send({ commit: true }).catch(() => {})
        await new Promise(resolve => { setImmediate(resolve) })
        throw new Error('left')
      },
      async 'a trip that fails while the last one is under way' (tx, name) {
        const [one, two] = [tx.trip(), tx.trip()]
        one.add(sql`select nonsense`)
        two.add(insert(tx, name))
        await Promise.all([one.send(), two.send({ commit: true })])
      },
      async 'a statement after the commit' (tx, name) {
        const trip = tx.trip()
        trip.add(insert(tx, name))
        await Promise.all([trip.send({ commit: true }), new Promise(resolve => { setImmediate(resolve) }).then(async () => await insert(tx, `${name}, late`).execute())])
      },
      async 'a failure that is swallowed before an empty commit' (tx, name) {
        await insert(tx, name).execute()
        await sql`select nonsense`.execute(tx.kysely).catch(() => {})
        await tx.trip().send({ commit: true })
      }
    }
    const names = Object.keys(mistreated)
    for (const name of names) {
      const first = t.rejects(store.withTx(async tx => await mistreated[name]?.(tx, name)), name)
      const next = store.withTx(async tx => {
        await insert(tx, `${name}: next 1`).execute()
        await new Promise(resolve => { setTimeout(resolve, 5) })
        await insert(tx, `${name}: next 2`).execute()
      })
      await Promise.all([first, next])
    }
    const { rows } = await sql<{ name: string }>`select name from pauses where name like any(${names.map(name => `${name}%`)}::text[])`.execute(store.kysely)
    const found = rows.map(row => row.name)
    t.same(found.filter(name => name.includes(': next ')).sort(), names.flatMap(name => [`${name}: next 1`, `${name}: next 2`]).sort())
    t.same(found.filter(name => name.endsWith(', late')), [])
    for (const name of names.slice(1).filter(name => !name.endsWith('after the commit'))) t.notOk(found.includes(name), name)
  })

  t.test('it answers a ping', async t => { await t.resolves(store.ping()) })
}

t.test('embedded', async t => {
  const store = await embedded({ dir: join(dir, 'a'), log })
  t.teardown(async () => { await store.close() })
  contract(t, store)

  t.test('each commit is brought to disk, and reading costs no fsync', async t => {
    const start = store.fsyncs() ?? 0
    for (let n = 0; n < 5; n++) await store.kysely.insertInto('pauses').values(pause(`fsync ${n}`)).execute()
    const written = store.fsyncs() ?? 0
    t.ok(written - start >= 5, `${written - start} fsyncs for 5 commits`)
    for (let n = 0; n < 5; n++) await store.kysely.selectFrom('pauses').selectAll().execute()
    t.equal(store.fsyncs(), written)
  })

  t.test('the outer handle inside a transaction throws instead of waiting for ever', async t => {
    await t.rejects(store.withTx(async () => { await store.ping() }), /from inside a transaction/)
    await t.resolves(store.ping())
  })

  t.test('a second user of the folder is refused in words', async t => {
    await t.rejects(embedded({ dir: join(dir, 'a'), log }), { name: 'StoreRefused', message: /in use by another process.*DATABASE_URL/ })
  })
})

t.test('kill -9 frees the folder and loses nothing that was acknowledged', async t => {
  const writer = fileURLToPath(new URL('./writer.ts', import.meta.url))
  const killed = await makeDataDir(t)
  const acknowledged: string[] = []
  for (const round of ['a', 'b']) {
    const child = spawn(process.execPath, [...baselineFlags, writer, killed, round], { env: inherited(), stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    await new Promise<void>(resolve => {
      child.stdout.on('data', chunk => {
        text += String(chunk)
        if (text.split('\n').length > 50) child.kill('SIGKILL')
      })
      child.once('close', () => { resolve() })
    })
    acknowledged.push(...text.split('\n').slice(0, -1))
  }
  const store = await embedded({ dir: killed, log })
  t.teardown(async () => { await store.close() })
  const found = new Set((await store.kysely.selectFrom('pauses').select('name').execute()).map(row => row.name))
  t.same(acknowledged.filter(name => !found.has(name)), [])
  t.ok(acknowledged.length >= 100)
})

t.test('postgres', async t => {
  const server = await startPostgres()
  if (server === undefined) {
    t.comment('skipped: PostgreSQL is not installed')
    return
  }
  t.teardown(async () => { await server.stop() })
  const [store, other] = await Promise.all([postgres({ url: server.url, log }), postgres({ url: server.url, log })])
  t.teardown(async () => {
    await store.close()
    await other.close()
  })
  contract(t, store)
  t.test('a replica that stands still in a transaction lets go of its locks', async t => {
    const frozen = await postgres({ url: server.url, log, idleInTransactionMs: 100 })
    t.teardown(async () => { await frozen.close() })
    await store.kysely.insertInto('pauses').values(pause('contested')).execute()
    const contested = (reason: string) => ({ async in (tx: Tx) { await tx.kysely.updateTable('pauses').set({ reason }).where('name', '=', 'contested').execute() } })
    const locked = Promise.withResolvers<void>()
    const thaw = Promise.withResolvers<void>()
    const late = frozen.withTx(async tx => {
      await contested('frozen').in(tx)
      locked.resolve()
      await thaw.promise
      await contested('thawed').in(tx)
    })
    await locked.promise
    await store.withTx(contested('taken over').in)
    thaw.resolve()
    await t.rejects(late)
    t.same(await store.kysely.selectFrom('pauses').select('reason').where('name', '=', 'contested').execute(), [{ reason: 'taken over' }])
    await t.resolves(frozen.ping(), 'and it goes on with another connection')
  })

  t.test('replicas that start together agree on the tables', async t => { await t.resolves(other.ping()) })
})
