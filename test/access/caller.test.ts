import t from 'tap'
import { anybody, demand, demandBucket, demandCpCode, findCaller, holds, readSecret } from '../../src/access/caller.ts'
import { hashSecret, type Scope, type Token } from '../../src/access/tokens.ts'

const token = (name: string, secret: string, more: Partial<Token> = {}): Token => ({ name, sha256: hashSecret(secret), scopes: new Set<Scope>(['read']), ...more })
const now = new Date('2026-06-01T00:00:00Z')

t.test('Bearer is the secret alone, of Basic only the password counts', async t => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const cases: Array<[string | undefined, string | undefined]> = [
    ['Bearer a-secret', 'a-secret'],
    ['bearer  a-secret ', 'a-secret'],
    [basic('anybody:a-secret'), 'a-secret'],
    [basic(':a:secret'), 'a:secret'],
    [basic('só:größe'), 'größe'],
    [basic('anybody:'), undefined],
    [basic('anybody'), undefined],
    ['Basic ???', undefined],
    ['Bearer', undefined],
    ['Bearer a secret', undefined],
    ['Digest x', undefined],
    ['', undefined],
    [undefined, undefined]
  ]
  for (const [header, secret] of cases) t.equal(readSecret(header), secret, String(header))
})

t.test('a secret finds its token, an expired one is told apart, and a rotation knows both', async t => {
  const past = { expiresAt: new Date('2026-05-31T00:00:00Z') }
  const tokens = [token('ci', 'the old secret', past), token('ci', 'the new secret'), token('shop', 'twice', past), token('shop', 'twice', { buckets: new Set(['a']), cpCodes: new Set([1]) })]
  t.equal(findCaller(tokens, 'the old secret', now), 'expired')
  t.match(findCaller(tokens, 'the new secret', now), { token: 'ci' })
  t.match(findCaller(tokens, 'twice', now), { token: 'shop', buckets: new Set(['a']), cpCodes: new Set([1]) })
  t.equal(findCaller(tokens, 'ci', now), undefined)
})

t.test('what a token lacks is named, and somebody without a token lacks nothing', async t => {
  const caller = { token: 'ci', scopes: new Set<Scope>(['read']), buckets: new Set(['a']), cpCodes: new Set([1]) }
  t.ok(holds(caller, 'read'))
  t.notOk(holds(caller, 'sync'))
  t.doesNotThrow(() => { demand(caller, ['sync', 'read'], 'this') })
  t.throws(() => { demand(caller, ['sync', 'upload'], 'this needs it') }, { code: 'forbidden', message: 'The token "ci" lacks the scope sync or upload: this needs it.' })
  t.throws(() => { demandBucket(caller, 'b') }, { code: 'bucket_not_allowed' })
  t.throws(() => { demandCpCode(caller, 2) }, { code: 'cp_code_not_allowed' })
  for (const one of [caller, anybody]) {
    t.doesNotThrow(() => {
      demandBucket(one, 'a')
      demandCpCode(one, 1)
    })
  }
  t.ok(holds(anybody, 'admin'))
})
