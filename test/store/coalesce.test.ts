import t from 'tap'
import { coalesce } from '../../src/store/coalesce.ts'

t.test('calls that come while a flush runs share the next one', async t => {
  const sizes: number[] = []
  const double = coalesce<number, number>(async items => {
    sizes.push(items.length)
    await new Promise(resolve => { setImmediate(resolve) })
    return items.map(item => item * 2)
  }, { max: 10 })
  t.same(await Promise.all(Array.from({ length: 25 }, async (_, n) => await double(n))), Array.from({ length: 25 }, (_, n) => n * 2))
  t.same(sizes, [10, 10, 5])
})

t.test('one bad member harms no other', async t => {
  const flush = coalesce<number, number>(async items => {
    if (items.includes(3)) throw new Error('three')
    return items
  })
  const results = await Promise.allSettled([1, 2, 3, 4].map(async n => await flush(n)))
  t.same(results.map(result => result.status), ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
})

t.test('a failure alone is told to its caller, and the next call works', async t => {
  let fails = true
  const flush = coalesce<number, number>(async items => {
    if (fails) throw new Error('down')
    return items
  })
  await t.rejects(flush(1), /down/)
  fails = false
  t.equal(await flush(2), 2)
})
