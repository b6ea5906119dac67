import t from 'tap'
import { giveBack, hold, isPlenty, needsLook, newBucket, observe, refill, spend, spendable } from '../../src/purge/budget.ts'

const at = (ms: number) => new Date(1_700_000_000_000 + ms)
const full = newBucket('url', 0.8, at(0))

t.test('our share bounds what may be spent, however full the account is', async t => {
  t.equal(spendable(full, 0.8), 8000)
  const used = spend(full, 8000)
  t.equal(spendable(used, 0.8), 0)
  t.equal(spendable(refill(used, 0.8, at(1000)), 0.8), 160)
  t.equal(spendable(refill(used, 0.8, at(1_000_000)), 0.8), 8000)
  t.equal(spendable(refill(spend(full, 100), 0.8, at(-5000)), 0.8), 7900, 'a clock that runs backwards gives nothing')
  t.equal(spendable(giveBack(used, 600, 0.8), 0.8), 600)
  t.equal(spendable(newBucket('cpcode', 0.001, at(0)), 0.8), 1, 'one token at least, or nothing would ever pass')
})

t.test('what the account holds bounds it too: an answer is believed over our own count', async t => {
  const seen = observe(spend(full, 600), { limit: 10_000, perSecond: 200, remaining: 94 })
  t.equal(spendable(seen, 0.8), 94)
  t.equal(spendable(refill(seen, 0.8, at(1000)), 0.8), 294)
  t.equal(spendable(observe(spend(full, 100), { limit: 500, perSecond: undefined, remaining: undefined }, { budget: 0.8 }), 0.8), 300, 'what was spent of an account that is smaller than thought stays spent')
  t.equal(spendable(observe(spend(full, 600), { remaining: 9_400 }, { pending: 600 }), 0.8), 7400)
  t.equal(spendable(observe(full, { remaining: 700 }, { pending: 600 }), 0.8), 100, 'requests on their way may not be counted in it yet')
  t.equal(observe(refill(seen, 0.8, at(1000)), { remaining: 94 }, { underwayMs: 1000 }).foreignPerSecond, 0, 'what flows in while an answer is under way was not taken by others')
})

t.test('several requests go at once only from an account that is known to be full enough for all', async t => {
  t.notOk(isPlenty(full), 'nobody has looked')
  const seen = observe(full, { remaining: 9000 })
  t.ok(isPlenty(seen))
  t.notOk(isPlenty(spend(seen, 1500)))
  t.notOk(isPlenty(refill(seen, 0.8, at(60_000))), 'too long ago')
})

t.test('what others take is learned from answers, and left to them', async t => {
  let bucket = observe(full, { remaining: 500 })
  for (let second = 1; second <= 5; second++) {
    bucket = refill(bucket, 0.8, at(second * 1000))
    bucket = observe(spend(bucket, 50), { remaining: 500 })
  }
  t.equal(bucket.foreignPerSecond, 150)
  t.equal(bucket.foreignBurst, 150)
  const fuller = { ...bucket, level: 5000 }
  t.equal(spendable(refill(fuller, 0.8, at(5100)), 0.8), 5020 - 150 - 600, 'what they took at once may be gone at once, and more of it may follow')
  t.equal(spendable(refill(fuller, 0.8, at(10_000)), 0.8), 6000 - 750 - 600, 'what they will have taken since')
  t.equal(spendable(refill({ ...fuller, foreignBurst: 1000 }, 0.8, at(5100)), 0.8), 5020 - 1000 - 2000, 'no more is left to them than what is not our share')
  t.equal(spendable(refill({ ...fuller, foreignBurst: 1000 }, 1, at(5100)), 1), 5020 - 1000 - 500, 'and something in any case')
  t.equal(spendable(bucket, 0.8), 100, 'where little is left, a part of it is ours all the same')
  const burst = observe(refill(full, 0.8, at(1000)), { remaining: 0 })
  t.equal(burst.foreignPerSecond, 0, 'a first look shows no pace')
  const later = observe(refill(bucket, 0.8, at(605_000)), { remaining: 1000 })
  t.ok(later.foreignPerSecond < 1 && later.foreignBurst < 1, 'what is not seen again is forgotten')
})

t.test('one sudden drain is no pace, but a second one soon after is', async t => {
  const seen = refill(observe(full, { remaining: 5000 }), 0.8, at(1000))
  const once = observe(seen, { remaining: 0 }, { refusal: true })
  t.same([once.foreignPerSecond, once.foreignBurst], [0, 0])
  const twice = observe({ ...seen, heldUntil: at(500) }, { remaining: 0 }, { refusal: true })
  t.same([twice.foreignPerSecond, twice.foreignBurst], [180, 1000], 'never all that flows in, and never more than some seconds of it')
  t.equal(observe(seen, { remaining: 5100 }, { refusal: true }).foreignPerSecond, 100, 'less than flows in may go on for long')
})

t.test('after a refusal exactly the missing tokens are waited for', async t => {
  const refused = hold(observe(full, { limit: 10_000, perSecond: 200, remaining: 94 }, { refusal: true }), 16)
  t.equal(spendable(refused, 0.8), 0)
  t.equal(spendable(refill(refused, 0.8, at(79)), 0.8), 0)
  const over = refill(refused, 0.8, at(80))
  t.ok(needsLook(over))
  t.equal(spendable(over, 0.8), 22, 'and then a part of them shows whether they are there')
  const looked = observe(spend(over, 22), { remaining: 88 })
  t.notOk(needsLook(looked))
  t.equal(spendable(looked, 0.8), 88)
})
