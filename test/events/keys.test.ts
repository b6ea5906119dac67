import t from 'tap'
import { decodeKey, readKey } from '../../src/events/keys.ts'
import index from '../fixtures/s3-events/index.json' with { type: 'json' }

t.test('a key written as a form field is decoded once', async (t) => {
  for (const { wire, key } of index.keyDecoding.good) t.equal(decodeKey(wire), key, wire)
})

t.test('broken escapes and bytes that are no UTF-8 have no key', async (t) => {
  for (const wire of index.keyDecoding.mustFail) {
    t.equal(decodeKey(wire), undefined, wire)
    t.strictSame(readKey(wire, 'form'), { fault: 'key_not_decodable' }, wire)
    t.strictSame(readKey(wire, 'literal'), { key: wire }, 'as it is, it is a key like others')
  }
})

t.test('a literal key is left alone', async (t) => {
  for (const key of ['a+b', '100%25', '%2e%2e/x', 'a b', ' ', '~', '__proto__', 'é'.repeat(512)]) t.strictSame(readKey(key, 'literal'), { key })
})

t.test('what no path can hold is found after decoding', async (t) => {
  for (const [wire, fault] of [
    ['..', 'dot_segment'], ['%2e%2E/x', 'dot_segment'], ['a/.', 'dot_segment'], ['a%2F..%2Fb', 'dot_segment'],
    ['a%00', 'control_character'], ['a%7F', 'control_character'], ['%0D%0A', 'control_character'],
    ['a'.repeat(1025), 'key_too_long'], ['%C3%A9'.repeat(513), 'key_too_long']
  ] as const) t.equal(readKey(wire, 'form').fault, fault, wire.slice(0, 20))
  for (const harmless of ['...', 'a/..b', '.a', 'a.', '%252e%252e/x', 'a'.repeat(1024)]) t.notOk('fault' in readKey(harmless, 'form'), harmless.slice(0, 20))
})
