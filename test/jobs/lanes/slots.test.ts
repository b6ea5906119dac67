import t from 'tap'
import { createSlots } from '../../../src/jobs/lanes/slots.ts'

const make = (count: number, patienceMs = 10_000) => {
  let released = 0
  return { ...createSlots({ count, patienceMs, onRelease: () => { released++ } }), released: () => released }
}

t.test('there are only so many slots, and who waits gets the next one in order', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  t.equal(await first.take(), true)
  const order: string[] = []
  const waits = [second.take().then(taken => { order.push(`second ${taken}`) }), third.take().then(taken => { order.push(`third ${taken}`) })]
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
  t.same(await Promise.all(all.map(async slot => await slot.prepare())), [true, true, true, true, false])
  const uploads = all.slice(0, 3).map(async slot => await slot.take())
  t.same(await Promise.all(uploads), [true, true, false])
  for (const slot of all.slice(0, 2)) slot.release()
  const [next, last] = [slots.create(), all[3] as ReturnType<typeof slots.create>]
  t.same(await Promise.all([next.prepare(), last.take()]), [true, true], 'one that ended makes room for either')
})

t.test('nothing is fetched ahead until copies end, then as many as ended lately', async t => {
  const slots = make(2)
  t.equal(slots.room(), 2)
  const all = [slots.create(), slots.create()]
  t.equal(slots.room(), 0, 'two large objects hold back no third lane')
  for (const slot of all) {
    await slot.prepare()
    slot.release()
  }
  t.equal(slots.room(), 4)
  for (let round = 0; round < 200; round++) {
    const slot = slots.create()
    await slot.prepare()
    slot.release()
  }
  t.equal(slots.room(), 2 + 192)
  const held = Array.from({ length: 100 }, () => slots.create())
  t.equal(slots.room(), 0, 'a few at a time are not worth a look')
  for (const slot of held) slot.release()
  t.equal(slots.room(), 194, 'a slot that was never taken is given back, too')
  while (slots.room() > 2) await new Promise(resolve => { setTimeout(resolve, 10) })
})

t.test('a lane that finds no slot in time is told so, and the slot goes to another', async t => {
  const slots = make(1, 5)
  const [first, late, next] = [slots.create(), slots.create(), slots.create()]
  await first.take()
  t.equal(await late.take(), false)
  const waiting = next.take()
  late.release()
  first.release()
  t.equal(await waiting, true)
})

t.test('whoever gives up waiting frees the way', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  await first.take()
  const [given, taken] = [second.take(), third.take()]
  second.release()
  t.equal(await given, false)
  first.release()
  t.equal(await taken, true)
})

t.test('a closed house gives out no more slots', async t => {
  const slots = make(1)
  const [first, second, third] = [slots.create(), slots.create(), slots.create()]
  await first.take()
  const waiting = second.take()
  slots.close()
  t.equal(await waiting, false)
  t.equal(await third.take(), false)
})
