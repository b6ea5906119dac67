import t from 'tap'
import { Sha256 } from '../../src/s3/sha256.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const hash = async (data: string | Uint8Array | ArrayBuffer, secret?: string | Uint8Array | ArrayBuffer) => {
  const sha256 = new Sha256(secret)
  sha256.update(data)
  return hex(await sha256.digest())
}

t.test('the hash of FIPS 180-2, appendix B.1, and of nothing', async t => {
  t.equal(await hash('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  t.equal(hex(await new Sha256().digest()), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
})

t.test('the HMAC of RFC 4231, test case 2, whatever form key and data have', async t => {
  const [key, data] = ['Jefe', 'what do ya want for nothing?']
  const bytes = (text: string) => new TextEncoder().encode(text)
  const expected = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  t.equal(await hash(data, key), expected)
  t.equal(await hash(bytes(data), bytes(key)), expected)
  t.equal(await hash(bytes(data).buffer, bytes(key).buffer), expected)
  t.equal(await hash(bytes(`(${data})`).subarray(1, -1), bytes(`(${key})`).subarray(1, -1)), expected, 'a part of a buffer')
})

t.test('parts make up a whole, and it can begin again', async t => {
  const sha256 = new Sha256('Jefe')
  sha256.update('something else')
  sha256.reset()
  sha256.update('what do ya want ')
  sha256.update('for nothing?')
  t.equal(hex(await sha256.digest()), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')
})
