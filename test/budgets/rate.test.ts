import t from 'tap'
import { adapt, beginRate, topOf, type Rate } from '../../src/budgets/rate.ts'

const none = { fine: 0, busy: 0, broken: 0 }

const tick = 0.01

/** A server that keeps a limit by a bucket of so many seconds' worth, and a client that always has something to send. */
function simulate (ceiling: number, burstSeconds: number) {
  let now = 0
  let rate: Rate = beginRate(ceiling, now)
  let tokens = 0
  return {
    rate: () => rate.perSecond,
    /** Runs for so long against a limit. Returns what was answered. */
    run (seconds: number, limit: number) {
      const total = { fine: 0, busy: 0 }
      let fresh = { ...none }
      let sent = 0
      for (let elapsed = 0; elapsed < seconds; elapsed += tick, now += tick * 1000) {
        tokens = Math.min(Math.max(1, limit * burstSeconds), tokens + limit * tick)
        for (sent += rate.perSecond * tick; sent >= 1; sent--) {
          if (tokens >= 1) {
            tokens--
            fresh.fine++
            total.fine++
          } else {
            fresh.busy++
            total.busy++
          }
        }
        rate = adapt(rate, fresh, ceiling, now)
        fresh = { ...none }
      }
      return { usedShare: total.fine / seconds / limit, refusedShare: total.busy / (total.fine + total.busy) }
    }
  }
}

t.test('it begins below the ceiling and grows up to just below it', async t => {
  const client = simulate(25, 1)
  t.equal(client.rate(), topOf(25) * 0.4)
  t.match(client.run(30, 100), { refusedShare: 0 })
  t.equal(client.rate(), topOf(25))
})

for (const burstSeconds of [0.1, 1, 3]) {
  t.test(`a limit below ours is found within a minute and used well, where ${burstSeconds} s of it may come at once`, async t => {
    const client = simulate(25, burstSeconds)
    client.run(60, 12)
    const later = client.run(300, 12)
    t.ok(later.refusedShare < 0.01, `${(later.refusedShare * 100).toFixed(2)} % are refused`)
    t.ok(later.usedShare >= 0.85, `${(later.usedShare * 100).toFixed(1)} % are used`)
    client.run(120, 100)
    t.equal(client.rate(), topOf(25), 'when it rises again, so does the rate')
    client.run(90, 5)
    const lower = client.run(300, 5)
    t.ok(lower.refusedShare < 0.01 && lower.usedShare >= 0.85, `and falls again: ${(lower.refusedShare * 100).toFixed(2)} % refused, ${(lower.usedShare * 100).toFixed(1)} % used`)
  })
}

t.test('what was under way when the rate was cut does not cut it again', async t => {
  const full = { ...beginRate(25, 0), perSecond: 20 }
  const cut = adapt(full, { ...none, busy: 1 }, 25, 1000)
  t.equal(cut.perSecond, 16)
  t.equal(adapt(cut, { ...none, busy: 5 }, 25, 2500).perSecond, 16)
  t.equal(adapt(cut, { ...none, busy: 1 }, 25, 2701).perSecond, 12.8)
})

t.test('answers 5xx slow it down a little, and never below one a second', async t => {
  let rate: Rate = { ...beginRate(25, 0), perSecond: 10 }
  t.equal(adapt(rate, { fine: 5, busy: 0, broken: 1 }, 25, 1000).perSecond, 9)
  for (let second = 2; second < 60; second++) rate = adapt(rate, { ...none, broken: 3 }, 25, second * 1000)
  t.equal(rate.perSecond, 1)
  t.equal(rate.refused, null, 'no limit is learned from them')
})

t.test('who rested begins lower again, and a ceiling that was lowered holds at once', async t => {
  const full = { ...beginRate(25, 0), perSecond: topOf(25) }
  t.equal(adapt(full, none, 25, 59_000).perSecond, topOf(25))
  t.equal(adapt(full, none, 25, 61_000).perSecond, topOf(25) * 0.4)
  t.equal(adapt(full, none, 10, 1000).perSecond, topOf(10))
})

/** Two replicas that take turns eight at a time and tell what became of them when those are used up, against a server that lets so many pass in any second. */
function simulateReplicas (ceiling: number, limit: number, seconds: number) {
  const replicas = [0, 1].map(() => ({ at: 0, turns: [] as number[], report: { ...none } }))
  let rate = beginRate(ceiling, 0)
  let nextAt = 0
  let passed: number[] = []
  let sent = 0
  const answers: Array<{ at: number, fine: boolean }> = []
  for (;;) {
    const replica = replicas.toSorted((a, b) => a.at - b.at)[0] as typeof replicas[number]
    if (replica.at > seconds * 1000) return answers
    const turn = replica.turns.shift()
    if (turn === undefined) {
      rate = adapt(rate, replica.report, ceiling, replica.at)
      replica.report = { ...none }
      const from = Math.max(nextAt, replica.at)
      replica.turns = Array.from({ length: 8 }, (_, index) => from + index * 1000 / rate.perSecond)
      nextAt = from + 8000 / rate.perSecond
      replica.at = replica.turns[0] as number
      continue
    }
    // The wire takes more or less time.
    const at = turn + sent++ * 7 % 25
    passed = passed.filter(each => at - each < 1000)
    const fine = at < 20_000 || passed.length < limit
    if (fine) passed.push(at)
    else replica.turns = []
    replica.report[fine ? 'fine' : 'busy']++
    answers.push({ at, fine })
    replica.at = replica.turns[0] ?? at
  }
}

for (const limit of [8, 12]) {
  t.test(`what a replica tells late does not pull the rate far below a limit of ${limit}`, async t => {
    const later = simulateReplicas(25, limit, 300).filter(({ at }) => at > 80_000)
    const fine = later.filter(each => each.fine).length
    t.ok(fine / 220 >= limit * 0.85, `${(fine / 220 / limit * 100).toFixed(1)} % are used`)
    t.ok(1 - fine / later.length < 0.01, `${((1 - fine / later.length) * 100).toFixed(2)} % are refused`)
  })
}
