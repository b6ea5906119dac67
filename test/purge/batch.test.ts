import t from 'tap'
import { serializeObjects, splitObjects, type PurgeObject } from '../../src/purge/batch.ts'

const bytesOf = (batch: PurgeObject[]) => Buffer.byteLength(serializeObjects(batch))

t.test('no body passes the limit, and none could have taken the next object too', async (t) => {
  const urls = Array.from({ length: 3000 }, (_, index) => `https://www.example.com/${'x'.repeat(index % 97)}/${index}`)
  const { batches, tooLong } = splitObjects(urls)
  t.same(tooLong, [])
  t.same(batches.flat(), urls, 'in order, all of them')
  batches.forEach((batch, index) => {
    t.ok(bytesOf(batch) <= 49_999, `${bytesOf(batch)} bytes`)
    const next = batches[index + 1]?.[0]
    if (next !== undefined) t.ok(bytesOf([...batch, next]) > 49_999, 'the next object would not have fitted')
  })
})

t.test('the size is that of the UTF-8 bytes with quotes, escapes and commas', async (t) => {
  const table: Array<[PurgeObject[], number, PurgeObject[][]]> = [
    [['a', 'b'], 21, [['a', 'b']]],
    [['a', 'b'], 20, [['a'], ['b']]],
    [['é'], 18, [['é']]],
    [['"'], 18, [['"']]],
    [['\u0001'], 22, [['\u0001']]],
    [[12345, 6], 21, [[12345, 6]]],
    [[12345, 6], 20, [[12345], [6]]],
    [[], 20, []]
  ]
  for (const [objects, maxBytes, batches] of table) {
    t.same(splitObjects(objects, maxBytes), { batches, tooLong: [] }, `${JSON.stringify(objects)} in ${maxBytes}`)
    for (const batch of batches) t.ok(bytesOf(batch) <= maxBytes)
  }
})

t.test('what no request can carry is set aside, and the others go', async (t) => {
  const exact = 'x'.repeat(49_999 - 16)
  t.same(splitObjects(['a', exact, `${exact}x`, 'b']), { batches: [['a'], [exact], ['b']], tooLong: [`${exact}x`] })
  t.same(splitObjects(['é'], 17), { batches: [], tooLong: ['é'] })
})

t.test('a request can be bounded by the number of its objects', async (t) => {
  t.same(splitObjects([1, 2, 3, 4, 5], 49_999, 2).batches, [[1, 2], [3, 4], [5]])
})
