import t from 'tap'
import { AppError } from '../src/errors.ts'
import { findMiss, findRule, isFolderMarker, mapKey, purgeObjects, purgeUrls, type PurgeRule, type Rule } from '../src/mapping.ts'

const makeRule = (changes: Partial<Omit<Rule, 'purge'>> = {}, purge: Partial<PurgeRule> = {}): Rule => ({
  name: 'web',
  bucket: 'assets',
  prefix: '',
  include: [],
  exclude: [],
  target: 'default',
  cpCode: 123456,
  path: '{key}',
  deletes: 'propagate',
  etagIsMd5: 'auto',
  metadata: { contentEncoding: 'refuse', redirect: 'refuse' },
  ...changes,
  purge: {
    by: 'url',
    urls: ['https://www.example.com/{key}'],
    spelling: 'both',
    indexDocuments: ['index.html'],
    action: 'invalidate',
    network: 'production',
    edgegrid: 'default',
    ...purge
  }
})

t.test('the longest prefix of the bucket wins, the first of equals', async (t) => {
  const rules = [
    makeRule({ name: 'all' }), makeRule({ name: 'static', prefix: 'static/' }), makeRule({ name: 'again', prefix: 'static/' }),
    makeRule({ name: 'deep', prefix: 'static/img/' }), makeRule({ name: 'other', bucket: 'other', prefix: 'x/' })
  ]
  const table: Array<[string, string, string | undefined]> = [
    ['assets', 'a.css', 'all'], ['assets', 'static/a.css', 'static'], ['assets', 'static/img/a.png', 'deep'],
    ['assets', 'static', 'all'], ['other', 'x/a', 'other'], ['other', 'y/a', undefined], ['none', 'a', undefined]
  ]
  for (const [bucket, key, name] of table) t.equal(findRule(rules, bucket, key)?.name, name, `${bucket}/${key}`)
})

t.test('globs narrow a rule, and what they leave out goes to the next longest prefix', async (t) => {
  const rules = [
    makeRule({ name: 'scripts', prefix: 'static/', include: ['**/*.js', '**/*.mjs'], exclude: ['**/*.min.js', 'static/old/**'] }),
    makeRule({ name: 'static', prefix: 'static/' }), makeRule({ name: 'rest', exclude: ['**/.*', '**/*.tmp'] })
  ]
  const table: Array<[string, string | undefined]> = [
    ['static/a.js', 'scripts'], ['static/x/y/a.mjs', 'scripts'], ['static/a.min.js', 'static'], ['static/old/a.js', 'static'],
    ['static/a.JS', 'static'], ['a.js', 'rest'], ['a.tmp', undefined], ['x/.hidden', undefined], ['.hidden', undefined]
  ]
  for (const [key, name] of table) t.equal(findRule(rules, 'assets', key)?.name, name, key)
  const [scripts = makeRule()] = rules
  t.same(findMiss(scripts, 'other', 'static/a.js'), { why: 'bucket' })
  t.same(findMiss(scripts, 'assets', 'a.js'), { why: 'prefix' })
  t.same(findMiss(scripts, 'assets', 'static/a.css'), { why: 'include' })
  t.same(findMiss(scripts, 'assets', 'static/old/a.js'), { why: 'exclude', glob: 'static/old/**' })
})

t.test('a key whose cache tag could not be sent is refused before it is copied', async (t) => {
  const rule = makeRule({ prefix: 'img/' }, { by: 'tag', tags: ['web', 'img-{keyWithoutPrefix}', 'web'] })
  t.same(purgeObjects(rule, 'img/a.png').objects, ['web', 'img-a.png'])
  t.same(mapKey(rule, 'img/a.png'), { cpCode: 123456, path: 'img/a.png' })
  t.throws(() => mapKey(rule, 'img/x/a.png'), { code: 'key_not_mappable', message: /the cache tag that rule web makes of it holds "\/"/ })
  t.throws(() => mapKey(rule, `img/${'a'.repeat(130)}`), { code: 'key_not_mappable', message: /longer than 128/ })
  t.same(mapKey({ ...rule, purge: { ...rule.purge, by: 'none' } }, 'img/x/a.png').path, 'img/x/a.png')
})

t.test('keys become paths by the template, and requests may name their own', async (t) => {
  const key = 'static/a b+é%20/$&.css'
  const table: Array<[Rule, string, Parameters<typeof mapKey>[2], number, string]> = [
    [makeRule(), key, undefined, 123456, key],
    [makeRule({ path: 'web/{key}' }), key, {}, 123456, `web/${key}`],
    [makeRule({ path: 'web/{keyWithoutPrefix}', prefix: 'static/' }), key, {}, 123456, 'web/a b+é%20/$&.css'],
    [makeRule({ path: '{keyWithoutPrefix}/{key}' }), '{keyWithoutPrefix}', {}, 123456, '{keyWithoutPrefix}/{keyWithoutPrefix}'],
    [makeRule(), key, { path: 'other/place' }, 123456, 'other/place'],
    [makeRule(), key, { cpCode: 7 }, 7, key],
    [makeRule(), '...', {}, 123456, '...'],
    [makeRule(), '.a/b..', {}, 123456, '.a/b..'],
    [makeRule(), 'a'.repeat(1024), {}, 123456, 'a'.repeat(1024)]
  ]
  for (const [rule, key, override, cpCode, path] of table) t.same(mapKey(rule, key, override), { cpCode, path })
})

t.test('a key that cannot be a path is refused, and the message names what is wrong', async (t) => {
  const table: Array<[string, RegExp, Partial<Rule>?, string?]> = [
    ['', /the key is empty/],
    ['.', /the key holds the segment "\."/],
    ['a/../b', /the key holds the segment "\.\."/],
    ['a/./b', /the key holds the segment "\."/],
    ['/a', /the key begins with a slash/],
    ['a/', /the key ends with a slash/],
    ['a//b', /the key holds "\/\/"/],
    ['a\u0000b', /control character U\+0000/],
    ['a\nb', /control character U\+000A/],
    ['a\u007fb', /control character U\+007F/],
    ['a\ud800b', /lone surrogate/],
    ['a\udc00', /lone surrogate/],
    ['é'.repeat(513), /the key has 1026 bytes in UTF-8, and 1024 is the most/],
    ['a'.repeat(1022), /the path that rule web makes of it has 1025 bytes/, { path: 'ab/{key}' }],
    ['static', /the path that rule web makes of it ends with a slash/, { path: 'web/{keyWithoutPrefix}', prefix: 'static' }],
    ['static/a', /the path that rule web makes of it holds "\/\/"/, { path: 'web/{keyWithoutPrefix}', prefix: 'static' }],
    ['a', /the path of the request is empty/, {}, ''],
    ['a', /the path of the request begins with a slash/, {}, '/b'],
    ['a', /the path of the request holds the segment "\.\."/, {}, '../b']
  ]
  for (const [key, message, rule, path] of table) {
    t.throws(() => mapKey(makeRule(rule), key, path === undefined ? {} : { path }), { code: 'key_not_mappable', message }, JSON.stringify(key.slice(0, 20)))
  }
  try {
    mapKey(makeRule(), `\ud800${'a'.repeat(5000)}`)
  } catch (error) {
    t.ok(error instanceof AppError && error.message.isWellFormed() && error.message.length < 400, 'the message is short, printable text')
  }
})

t.test('only an empty object whose key ends in a slash is a folder marker', async (t) => {
  t.ok(isFolderMarker('a/', 0))
  t.notOk(isFolderMarker('a/', 1))
  t.notOk(isFolderMarker('a', 0))
})

t.test('an object is purged under each URL and each spelling that differs', async (t) => {
  const www = 'https://www.example.com/'
  const two = { urls: ['https://a.example/{key}', 'https://b.example/x/{keyWithoutPrefix}'] }
  const table: Array<[Partial<Rule>, Partial<PurgeRule>, string, string[]]> = [
    [{}, {}, 'a/b.css', [`${www}a/b.css`]],
    [{}, {}, 'a/b+c.css', [`${www}a/b%2Bc.css`, `${www}a/b+c.css`]],
    [{}, { spelling: 'rfc3986' }, 'b+c', [`${www}b%2Bc`]],
    [{}, { spelling: 'browser' }, 'b+c', [`${www}b+c`]],
    [{}, {}, 'index.html', [`${www}index.html`, www]],
    [{}, {}, 'a+/index.html', [`${www}a%2B/index.html`, `${www}a+/index.html`, `${www}a%2B/`, `${www}a+/`]],
    [{}, {}, 'a/myindex.html', [`${www}a/myindex.html`]],
    [{}, { indexDocuments: [] }, 'a/index.html', [`${www}a/index.html`]],
    [{}, { indexDocuments: ['index.html', 'default.htm'] }, 'a/default.htm', [`${www}a/default.htm`, `${www}a/`]],
    [{ prefix: 's+/' }, two, 's+/a', ['https://a.example/s%2B/a', 'https://a.example/s+/a', 'https://b.example/x/a']],
    [{ prefix: 's/' }, two, 's/index.html', ['https://a.example/s/index.html', 'https://a.example/s/', 'https://b.example/x/index.html', 'https://b.example/x/']],
    [{ prefix: 's/in' }, two, 's/index.html', ['https://a.example/s/index.html', 'https://a.example/s/', 'https://b.example/x/dex.html']],
    [{}, { urls: ['/L/512/6848/1h/www.example.com/{key}', 'https://www.example.com/list.json'] }, 'a b', ['/L/512/6848/1h/www.example.com/a%20b', 'https://www.example.com/list.json']],
    [{}, { urls: ['https://www.example.com/{key}', 'https://www.example.com/{keyWithoutPrefix}'] }, '{key}', [`${www}%7Bkey%7D`]],
    [{}, { urls: undefined }, 'a', []]
  ]
  for (const [rule, purge, key, urls] of table) t.same(purgeUrls(makeRule(rule, purge), key), urls, key)
})

t.test('what a request names takes the place of the rule', async (t) => {
  const rule = makeRule({}, { cpCodes: [1, 1, 2], tags: ['t'] })
  const base = { by: 'url', action: 'invalidate', network: 'production', edgegrid: 'default', objects: ['https://www.example.com/a'] }
  t.same(purgeObjects(rule, 'a'), base)
  t.same(purgeObjects(rule, 'a', { action: undefined, urls: undefined }), base, 'a member that is undefined changes nothing')
  t.same(purgeObjects(rule, 'a', { action: 'delete', network: 'staging' }), { ...base, action: 'delete', network: 'staging' })
  t.same(purgeObjects(rule, 'a', { by: 'cpcode' }), { ...base, by: 'cpcode', objects: [1, 2] })
  t.same(purgeObjects(rule, 'a', { by: 'tag' }), { ...base, by: 'tag', objects: ['t'] })
  t.same(purgeObjects(rule, 'a', { by: 'none' }), { ...base, by: 'none', objects: [] })
  t.same(purgeObjects(rule, 'a', { urls: ['https://m.example/{key}', 'https://m.example/a'] }), { ...base, objects: ['https://m.example/a'] })
  t.same(purgeObjects(rule, 'a', { cpCodes: [9] }), { ...base, by: 'cpcode', objects: [9] }, 'a list implies its kind')
  t.same(purgeObjects(rule, 'a', { tags: ['x'] }), { ...base, by: 'tag', objects: ['x'] })
  t.same(purgeObjects(rule, 'a', { tags: ['x'], cpCodes: [9] }), base, 'two lists without `by` leave the kind to the rule')
  const bare = makeRule({}, { urls: undefined })
  for (const by of ['url', 'cpcode', 'tag'] as const) t.same(purgeObjects(bare, 'a', { by }).objects, [], `nothing is made up for ${by}`)
})
