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
  t.equal(adapt(cut, { ...none, busy: 5 }, 25, 1500).perSecond, 16)
  t.equal(adapt(cut, { ...none, busy: 1 }, 25, 2001).perSecond, 12.8)
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
