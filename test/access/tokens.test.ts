import t from 'tap'
import { hashSecret, parseTokenFile, parseTokenList, scopes } from '../../src/access/tokens.ts'

const hex = hashSecret('a secret of some length').toString('hex')

t.test('the list gives each token every scope, and faults name the entry but not the secret', async t => {
  const faults: string[] = []
  const warnings: string[] = []
  const tokens = parseTokenList('ops:a-secret-with:colons, ci:another-long-secret,,ops:the-next-secret-of-ops', faults)
  t.same(tokens.map(({ name }) => name), ['ops', 'ci', 'ops'])
  t.same(tokens[0]?.sha256, hashSecret('a-secret-with:colons'))
  t.same([...tokens[1]?.scopes ?? []], scopes)
  t.same(faults, [])
  parseTokenList('no-colon-here,:no-name-here-at-all,ops:,a/b:a-long-enough-s3cret', faults)
  t.same(faults, [
    'API_TOKENS: entry 1 is not of the form name:secret',
    'API_TOKENS: entry 2 is not of the form name:secret',
    'API_TOKENS: entry 3 is not of the form name:secret',
    'API_TOKENS: entry 4 has a name with characters other than letters, digits and ._@:+-'
  ])
  t.equal(parseTokenList('ci:s3cret', [], warnings).length, 1, 'a short secret is a secret')
  t.same(warnings, ['API_TOKENS: the secret of "ci" is shorter than 16 characters, and may be guessed'])
})

t.test('the file gives narrower tokens, the same name as often as a rotation needs', async t => {
  const faults: string[] = []
  const digits = '1234567890'.repeat(6) + '1234'
  const [first, second, third] = parseTokenFile(`
- { name: ci, sha256: ${digits}, scopes: [sync, read] }
- { name: ci, sha256: ${hex.toUpperCase()}, scopes: [sync], expires: 2027-01-31T12:00:00Z }
- { name: shop, sha256: ${hex}, scopes: [], expires: 2027-01-31, buckets: [shop-assets], cpCodes: [123456, 7] }
`, faults)
  t.same(faults, [])
  t.equal(first?.sha256.toString('hex'), digits, 'a hash of digits is no number')
  t.same(second?.sha256, hashSecret('a secret of some length'))
  t.same(second?.expiresAt, new Date('2027-01-31T12:00:00Z'))
  t.same([...third?.buckets ?? []], ['shop-assets'])
  t.same([...third?.cpCodes ?? []], [123456, 7])
  t.same(third?.expiresAt, new Date('2027-01-31'))
  t.equal(third?.scopes.size, 0)
})

t.test('a file may hold the list form', async t => {
  t.match(parseTokenFile('ops:a-long-secret-for-ops', []), [{ name: 'ops' }])
})

t.test('every fault of the file is named at once, and nothing of it is quoted', async t => {
  const cases: Array<[string, RegExp]> = [
    ['{ name: ci }', /is no list/],
    ['', /is no list/],
    ['- [', /is not valid YAML at line \d+, column \d+$/],
    ['- s3cret', /entry 1: is no mapping/],
    ['- [s3cret]', /entry 1: is no mapping/],
    [`- { sha256: ${hex}, scopes: [read] }`, /entry 1: name is missing/],
    [`- { name: "a\\nb", sha256: ${hex}, scopes: [read] }`, /entry 1: name is missing or has/],
    ['- { name: ci, sha256: s3cret, scopes: [read] }', /ci: sha256 is not 64 hex digits/],
    [`- { name: ci, sha256: ${hex}, scopes: read }`, /ci: scopes must be a list of sync, upload/],
    [`- { name: ci, sha256: ${hex}, scopes: [reed] }`, /ci: scopes must be a list of/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], expires: soon }`, /ci: expires is no date/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], expires: 2027-13-01 }`, /ci: expires is no date/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], buckets: shop }`, /ci: buckets must be a list/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], cpCodes: [a] }`, /ci: cpCodes must be a list/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], cpCodes: 1 }`, /ci: cpCodes must be a list/],
    [`- { name: ci, sha256: ${hex}, scopes: [read], secret: s3cret }`, /ci: has a member that is none of/]
  ]
  for (const [text, expected] of cases) {
    const faults: string[] = []
    t.same(parseTokenFile(text, faults), [], text)
    t.match(faults.join('\n'), expected)
    t.notMatch(faults.join('\n'), /s3cret/)
  }
  const faults: string[] = []
  parseTokenFile('- { name: ci, sha256: x, scopes: x, expires: x }', faults)
  t.equal(faults.length, 3)
})
