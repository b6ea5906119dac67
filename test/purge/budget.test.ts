import t from 'tap'
import { giveBack, hold, isFresh, newBucket, observe, refill, spend, spendable } from '../../src/purge/budget.ts'

const at = (ms: number) => new Date(1_700_000_000_000 + ms)
const full = newBucket('url', 0.8, at(0))

t.test('our share bounds what may be spent, however full the account is', async t => {
  t.equal(spendable(full), 8000)
  const used = spend(full, 8000)
  t.equal(spendable(used), 0)
  t.equal(spendable(refill(used, 0.8, at(1000))), 160)
  t.equal(spendable(refill(used, 0.8, at(1_000_000))), 8000)
  t.equal(spendable(refill(spend(full, 100), 0.8, at(-5000))), 7900, 'a clock that runs backwards gives nothing')
  t.equal(spendable(giveBack(used, 600, 0.8)), 600)
  t.equal(spendable(newBucket('cpcode', 0.001, at(0))), 1, 'one token at least, or nothing would ever pass')
})

t.test('what the account holds bounds it too: an answer is believed over our own count', async t => {
  const seen = observe(spend(full, 600), { limit: 10_000, perSecond: 200, remaining: 94 }, 0)
  t.equal(spendable(seen), 94)
  t.equal(spendable(refill(seen, 0.8, at(1000))), 294)
  t.equal(spendable(observe(full, { limit: 500, perSecond: undefined, remaining: undefined }, 0)), 500)
  t.equal(spendable(observe(spend(full, 600), { remaining: 9_400 }, 600)), 7400)
  t.equal(spendable(observe(full, { remaining: 700 }, 600)), 100, 'requests on their way may not be counted in it yet')
  t.notOk(isFresh(full))
  t.ok(isFresh(seen))
  t.notOk(isFresh(refill(seen, 0.8, at(60_000))))
})

t.test('what others take is learned from answers, and left to them', async t => {
  let bucket = observe(full, { remaining: 500 }, 0)
  for (let second = 1; second <= 5; second++) {
    bucket = refill(bucket, 0.8, at(second * 1000))
    bucket = observe(spend(bucket, 50), { remaining: 500 }, 0)
  }
  t.equal(bucket.foreignPerSecond, 150)
  t.equal(spendable(refill(bucket, 0.8, at(5100))), 370, 'what they took at once may be gone at once')
  t.equal(spendable(refill(bucket, 0.8, at(6000))), 550)
  const burst = observe(refill(full, 0.8, at(1000)), { remaining: 0 }, 0)
  t.equal(burst.foreignPerSecond, 0, 'a first look shows no pace')
  const later = observe(refill(bucket, 0.8, at(65_000)), { remaining: 1000 }, 0)
  t.ok(later.foreignPerSecond < 20 && later.foreignBurst < 20, 'what is not seen again is forgotten')
})

t.test('one sudden drain is no pace, but a second one soon after is', async t => {
  const seen = refill(observe(full, { remaining: 5000 }, 0), 0.8, at(1000))
  const once = observe(seen, { remaining: 0 }, 0, true)
  t.same([once.foreignPerSecond, once.foreignBurst], [0, 0])
  const twice = observe({ ...seen, heldUntil: at(500) }, { remaining: 0 }, 0, true)
  t.same([twice.foreignPerSecond, twice.foreignBurst], [180, 1000], 'never all that flows in, and never more than some seconds of it')
  t.equal(observe(seen, { remaining: 5100 }, 0, true).foreignPerSecond, 100, 'less than flows in may go on for long')
})

t.test('after a refusal exactly the missing tokens are waited for', async t => {
  const refused = hold(observe(full, { limit: 10_000, perSecond: 200, remaining: 94 }, 0, true), 16)
  t.equal(spendable(refused), 0)
  t.equal(spendable(refill(refused, 0.8, at(79))), 0)
  t.equal(spendable(refill(refused, 0.8, at(80))), 110)
})
