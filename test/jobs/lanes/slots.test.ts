import t from 'tap'
import { createSlots } from '../../../src/jobs/lanes/slots.ts'

const { signal } = new AbortController()
const make = (count: number, patienceMs = 10_000) => {
  let released = 0
  return { ...createSlots({ count, patienceMs, onRelease: () => { released++ } }), released: () => released }
}

t.test('there are only so many slots, and who waits gets the next one in order', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  t.equal(await first.take(signal), true)
  const order: string[] = []
  const waits = [second.take(signal).then(taken => { order.push(`second ${taken}`) }), third.take(signal).then(taken => { order.push(`third ${taken}`) })]
  first.release()
  first.release()
  await waits[0]
  t.same(order, ['second true'])
  second.release()
  await Promise.all(waits)
  t.same(order, ['second true', 'third true'])
  t.equal(slots.released(), 2)
})

t.test('as many objects as may be uploaded are prepared meanwhile', async t => {
  const slots = make(2, 20)
  const all = Array.from({ length: 5 }, () => slots.create())
  t.same(await Promise.all(all.map(async slot => await slot.prepare(signal))), [true, true, true, true, false])
  const uploads = all.slice(0, 3).map(async slot => await slot.take(signal))
  t.same(await Promise.all(uploads), [true, true, false])
  for (const slot of all.slice(0, 2)) slot.release()
  const [next, last] = [slots.create(), all[3] as ReturnType<typeof slots.create>]
  t.same(await Promise.all([next.prepare(signal), last.take(signal)]), [true, true], 'one that ended makes room for either')
})

t.test('nothing is fetched ahead until copies end, then as many as ended lately', async t => {
  const slots = make(2)
  t.equal(slots.room(), 2)
  const all = [slots.create(), slots.create()]
  t.equal(slots.room(), 0, 'two large objects hold back no third lane')
  for (const slot of all) {
    await slot.prepare(signal)
    slot.release()
  }
  t.equal(slots.room(), 4)
  for (let round = 0; round < 200; round++) {
    const slot = slots.create()
    await slot.prepare(signal)
    slot.release()
  }
  t.equal(slots.room(), 2 + 192)
  const held = Array.from({ length: 100 }, () => slots.create())
  t.equal(slots.room(), 0, 'a few at a time are not worth a look')
  for (const slot of held) slot.release()
  t.equal(slots.room(), 194, 'a slot that was never taken is given back, too')
  while (slots.room() > 2) await new Promise(resolve => { setTimeout(resolve, 10) })
})

t.test('lanes that are turned away do not look as if slots came free', async t => {
  const slots = make(2, 5)
  const all = Array.from({ length: 4 }, () => slots.create())
  t.same(await Promise.all(all.map(async slot => await slot.prepare(signal))), [true, true, true, true])
  t.same(await Promise.all(all.map(async slot => await slot.take(signal))), [true, true, false, false])
  for (const slot of all.slice(2)) slot.release()
  t.equal(slots.room(), 0)
})

t.test('who is no longer wanted stops waiting, and the slot goes to the next', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  const ending = new AbortController()
  await first.take(signal)
  const [given, taken] = [second.take(ending.signal), third.take(signal)]
  ending.abort()
  t.equal(await given, false)
  first.release()
  second.release()
  t.equal(await taken, true)
  t.equal(await slots.create().take(ending.signal), false)
})

t.test('a lane that finds no slot in time is told so, and the slot goes to another', async t => {
  const slots = make(1, 5)
  const [first, late, next] = [slots.create(), slots.create(), slots.create()]
  await first.take(signal)
  t.equal(await late.take(signal), false)
  const waiting = next.take(signal)
  late.release()
  first.release()
  t.equal(await waiting, true)
})

t.test('whoever gives up waiting frees the way', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  await first.take(signal)
  const [given, taken] = [second.take(signal), third.take(signal)]
  second.release()
  t.equal(await given, false)
  first.release()
  t.equal(await taken, true)
})

t.test('a closed house gives out no more slots', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  await first.take(signal)
  const waiting = second.take(signal)
  slots.close()
  t.equal(await waiting, false)
  t.equal(await third.take(signal), false)
})
