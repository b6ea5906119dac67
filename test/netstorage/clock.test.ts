import t from 'tap'
import { createClock, measureOffset } from '../../src/netstorage/clock.ts'

const noon = Date.parse('2026-01-02T12:00:00Z')
/** What a server that is `ahead` seconds answers at a moment by our clock. */
const answer = (ahead: number, receivedAt = noon + 400) => ({ date: new Date(receivedAt + ahead * 1000).toUTCString(), receivedAt })

t.test('the offset is what Date is ahead of our clock, to the nearest second', async t => {
  for (const ahead of [0, 1, -1, 31, 90, -90, 86_400, -3_000_000]) t.equal(measureOffset(answer(ahead)), ahead)
  for (const ms of [0, 1, 499, 501, 999]) {
    for (const ahead of [-90, 90]) t.ok(Math.abs((measureOffset(answer(ahead, noon + ms)) ?? NaN) - ahead) <= 1, `a Date is cut to the second at ${ms} ms`)
  }
  for (const date of [undefined, '', 'soon']) t.equal(measureOffset({ date, receivedAt: noon }), undefined)
})

t.test('a clock is corrected only by a refusal that the time explains', async t => {
  const cases: Array<[string, number, { usedOffset?: number, date?: string }, boolean, number]> = [
    ['a clock that is right', 0, {}, false, 0],
    ['within the tolerance', 30, {}, false, 0],
    ['within it on the other side', -30, {}, false, 0],
    ['behind', 31, {}, true, 31],
    ['ahead', -90, {}, true, -90],
    ['a refusal of what was already signed with that offset', 90, { usedOffset: 90 }, false, 0],
    ['an answer without a readable Date', 90, { date: 'soon' }, false, 0]
  ]
  for (const [what, ahead, { usedOffset = 0, date }, corrected, offset] of cases) {
    const heard: number[] = []
    const clock = createClock(() => noon + 400, seconds => { heard.push(seconds) })
    t.equal(clock.correct({ ...answer(ahead), ...(date === undefined ? {} : { date }) }, usedOffset), corrected, what)
    t.equal(clock.offset(), offset)
    t.equal(clock.seconds(), noon / 1000 + offset, 'whole seconds, with the offset')
    t.same(heard, offset === 0 ? [] : [offset])
  }
})

t.test('of many requests refused together the first corrects for all, and is heard once', async t => {
  const heard: number[] = []
  const clock = createClock(() => noon + 400, seconds => { heard.push(seconds) })
  for (const ahead of [90, 91, 89]) t.ok(clock.correct(answer(ahead), 0), 'each may be signed again')
  t.same(heard, [90])
})

t.test('when our clock was mended the offset goes back to none', async t => {
  const heard: number[] = []
  const clock = createClock(() => noon + 400, seconds => { heard.push(seconds) })
  clock.correct(answer(90), 0)
  t.ok(clock.correct(answer(3), 90))
  t.equal(clock.offset(), 0, 'what is within the tolerance is not corrected')
  clock.correct(answer(-120), 0)
  t.same(heard, [90, 0, -120])
})
