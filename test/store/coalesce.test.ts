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

t.test('a second flush begins beside the one under way once enough wait for it, and never a third', async t => {
  const flushes: Array<{ items: number[], end: () => void }> = []
  const flush = coalesce<number, number>(async items => {
    await new Promise<void>(resolve => { flushes.push({ items, end: resolve }) })
    return items
  }, { overlapAt: 3 })
  const turn = async () => { await new Promise(resolve => { setTimeout(resolve, 1) }) }
  const answers: Array<Promise<number>> = []
  const call = async (...items: number[]) => {
    answers.push(...items.map(async item => await flush(item)))
    await turn()
  }
  const begun = () => flushes.map(({ items }) => items)
  await call(1)
  await call(2, 3)
  t.same(begun(), [[1]], 'two are not enough')
  await call(4)
  t.same(begun(), [[1], [2, 3, 4]])
  await call(5, 6, 7, 8)
  t.same(begun().length, 2, 'two are under way')
  flushes[1]?.end()
  await turn()
  t.same(begun(), [[1], [2, 3, 4], [5, 6, 7, 8]])
  await call(9)
  flushes[2]?.end()
  await turn()
  t.same(begun().length, 3, 'one waits for the one that is under way')
  flushes[0]?.end()
  await turn()
  t.same(begun().at(-1), [9])
  flushes[3]?.end()
  t.same(await Promise.all(answers), [1, 2, 3, 4, 5, 6, 7, 8, 9])
})

t.test('whoever came in a crowd is waited for, by how many the last flush took', async t => {
  const sizes: number[] = []
  const told: number[] = []
  const flush = coalesce<number, number>(async items => {
    sizes.push(items.length)
    return items
  }, { lingerMs: last => { told.push(last); return last < 3 ? 0 : 20 } })
  await Promise.all([1, 2, 3].map(async n => await flush(n)))
  const [early, late] = [flush(4), new Promise<number>(resolve => { setTimeout(() => { resolve(flush(5)) }, 5) })]
  t.same(await Promise.all([early, late]), [4, 5])
  t.same(sizes, [3, 2], 'the one that came a little later goes along')
  t.same(told, [0, 3])
  await flush(6)
  t.same(told, [0, 3, 2], 'two are no crowd')
})
