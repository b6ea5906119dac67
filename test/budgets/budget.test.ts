import { sql } from 'kysely'
import t from 'tap'
import { createBudget } from '../../src/budgets/budget.ts'
import { createBudgets } from '../../src/budgets/budgets.ts'
import { topOf } from '../../src/budgets/rate.ts'
import { createOffset, hand, turnsInDatabase, turnsInMemory, type TakeTurns } from '../../src/budgets/turns.ts'
import { embedded } from '../../src/store/embedded.ts'
import { postgres } from '../../src/store/postgres.ts'
import type { Store } from '../../src/store/store.ts'
import { makeDataDir } from '../data-dir.ts'
import { startPostgres } from '../postgres-server.ts'

const log = { info () {}, warn () {}, error () {} }
const server = await startPostgres()
const open = async (): Promise<Store> => server === undefined ? await embedded({ dir: await makeDataDir(t), log }) : await postgres({ url: server.url, log })
const first = await open()
const second = server === undefined ? first : await open()
t.teardown(async () => {
  await first.close()
  if (second !== first) await second.close()
  await server?.stop()
})

/** The most moments that any window of one second holds. */
function crowdest (moments: number[]): number {
  const sorted = moments.toSorted((a, b) => a - b)
  return Math.max(...sorted.map((start, index) => sorted.findLastIndex(each => each < start + 1000) - index + 1))
}

/** So many requests at once through each of some budgets; returns when they left. */
async function rush (budgets: Array<ReturnType<typeof createBudget>>, count: number): Promise<number[]> {
  const moments: number[] = []
  await Promise.all(budgets.flatMap(budget => Array.from({ length: count }, async () => {
    await budget.take()
    moments.push(performance.now())
    budget.report(200)
  })))
  return moments
}

t.test('all replicas together keep the ceiling in any second, and use it', async t => {
  const ceiling = 40
  const moments = await rush([first, second].map(store => createBudget({ takeTurns: turnsInDatabase(store, 'shared write', ceiling) })), 40)
  t.ok(crowdest(moments) <= ceiling, `${crowdest(moments)} in a second`)
  const { per_second: perSecond } = await first.kysely.selectFrom('budgets').selectAll().where('name', '=', 'shared write').executeTakeFirstOrThrow()
  t.ok(perSecond > topOf(ceiling) * 0.4, 'what one has learned is known to all')
})

t.test('the time that a database takes is not waited for a second time, and no turn is taken for it', async t => {
  const slow: Pick<Store, 'withTx'> = {
    withTx: async fn => await first.withTx(async tx => {
      const result = await fn(tx)
      await sql`select pg_sleep(0.05)`.execute(tx.kysely)
      return result
    })
  }
  const takeTurns = turnsInDatabase(slow, 'slow write', 1000)
  const none = { fine: 0, busy: 0, broken: 0 }
  const late = await takeTurns(1, none)
  t.ok(late.waitMs <= -50, 'the turn was there when the database looked')
  await takeTurns(1, none)
  const { next_at: nextAt, used_at: usedAt } = await first.kysely.selectFrom('budgets').selectAll().where('name', '=', 'slow write').executeTakeFirstOrThrow()
  t.ok(nextAt - usedAt >= 50, 'the next one is taken for when it will be here')
})

t.test('the clock of a database is read by the answer that came most quickly, of late', t => {
  let now = 1000
  const offsetOf = createOffset(() => now)
  t.equal(offsetOf(0), 1000)
  now = 1100
  t.equal(offsetOf(150), 950, 'this one came sooner')
  now = 1300
  t.equal(offsetOf(200), 950, 'this one took its time')
  now = 11_200
  t.equal(offsetOf(10_000), 1100, 'clocks may drift')
  t.end()
})

t.test('one process alone needs no database for it', async t => {
  const moments = await rush([createBudget({ takeTurns: turnsInMemory(40, () => performance.now()) })], 60)
  t.ok(crowdest(moments) <= 40)
})

t.test('a refusal slows all down at once, and turns that were handed out before are not used', async t => {
  const waits: number[] = []
  const takeTurns = turnsInMemory(1000, () => performance.now())
  const spacings: number[] = []
  const spied: TakeTurns = async (wanted, report) => {
    const turns = await takeTurns(wanted, report)
    spacings.push(turns.spacingMs)
    return turns
  }
  const budget = createBudget({ takeTurns: spied, onTurn: ({ waitedMs }) => { waits.push(waitedMs) } })
  await budget.take()
  await budget.take()
  t.equal(spacings.length, 2, 'the second look takes turns for a while')
  budget.report(429)
  await budget.take()
  t.equal(spacings.length, 3)
  t.ok((spacings[2] as number) > (spacings[1] as number))
  t.equal(waits.length, 3)
})

t.test('whoever waits no more takes no turn, and a database that fails is told of', async t => {
  const budget = createBudget({ takeTurns: turnsInMemory(1, () => performance.now()) })
  await budget.take()
  const stop = new AbortController()
  const waiting = budget.take(stop.signal)
  stop.abort(new Error('no more'))
  await t.rejects(waiting, { message: 'no more' })
  await t.rejects(budget.take(stop.signal), { message: 'no more' })
  let broken = true
  const failing = createBudget({ takeTurns: async () => broken ? await Promise.reject(new Error('no database')) : { count: 1, waitMs: 0, spacingMs: 1, perSecond: 1 } })
  await t.rejects(failing.take(), { message: 'no database' })
  broken = false
  await failing.take()
})

t.test('a clock that was put back holds nothing up', async t => {
  const { rate } = hand({ rate: { perSecond: 10, refused: null, good: null, cutAt: 0, probeAt: 0, usedAt: 0 }, nextAt: 0 }, 1, { fine: 0, busy: 0, broken: 0 }, 25, 5000).state
  t.equal(hand({ rate, nextAt: 3_600_000 }, 1, { fine: 0, busy: 0, broken: 0 }, 25, 6000).turns.waitMs, 0)
})

t.test('accounts of one host share its budgets, the lowest ceiling counts, and there may be none', async t => {
  const ceilings: Array<[string, number]> = []
  const budgets = createBudgets({ store: first, ceilings: { writesPerSecond: 25, readsPerSecond: 1_000_000 }, onCeiling: ({ host, kind, perSecond }) => { ceilings.push([`${host} ${kind}`, perSecond]) }, onTurn () {} })
  const hostname = 'http://Example.test:1'
  budgets.adopt([{ hostname }, { hostname: 'example.test:1', writesPerSecond: 10 }])
  t.same(ceilings, [['example.test:1 write', 10]])
  t.equal(budgets.of(hostname), budgets.of('example.test:1'))
  t.equal(budgets.of(hostname)?.read, undefined)
  budgets.adopt([{ hostname }])
  t.same(ceilings[1], ['example.test:1 write', 25])
  t.equal(budgets.of('other.test'), undefined)
  await budgets.of(hostname)?.write?.take()
})
