import t from 'tap'
import { checkTag, checkUrl, spellBrowser, spellers, spellRfc3986, urlHost } from '../src/spelling.ts'

/** Reproducible noise: a linear congruential generator, so that a failure can be repeated. */
function random (seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}

const alphabet = [...'abzAZ09-._~/ !"#$%&\'()*+,:;<=>?@[\\]^`{|}', '\u0001', '\u007f', 'é', 'ß', '日', '😀', '%41', '\u0301']

t.test('keys are spelled as RFC 3986 and as browsers do', async (t) => {
  const table: Array<[string, string, string]> = [
    ['a/b.css', 'a/b.css', 'a/b.css'],
    ['-._~', '-._~', '-._~'],
    ['a b', 'a%20b', 'a%20b'],
    ['a+b', 'a%2Bb', 'a+b'],
    ["!$&'()+,:;=@", '%21%24%26%27%28%29%2B%2C%3A%3B%3D%40', "!$&'()+,:;=@"],
    ['[1]', '%5B1%5D', '[1]'],
    ['"#%*<>?', '%22%23%25%2A%3C%3E%3F', '%22%23%25%2A%3C%3E%3F'],
    ['\\^`{|}', '%5C%5E%60%7B%7C%7D', '%5C%5E%60%7B%7C%7D'],
    ['caf\u00e9', 'caf%C3%A9', 'caf%C3%A9'],
    ['cafe\u0301', 'cafe%CC%81', 'cafe%CC%81'],
    ['日本/😀', '%E6%97%A5%E6%9C%AC/%F0%9F%98%80', '%E6%97%A5%E6%9C%AC/%F0%9F%98%80'],
    ['\u0001\u001f\u007f', '%01%1F%7F', '%01%1F%7F'],
    ['already%20escaped', 'already%2520escaped', 'already%2520escaped'],
    ['', '', '']
  ]
  for (const [key, rfc, browser] of table) {
    t.equal(spellRfc3986(key), rfc, `RFC 3986 of ${JSON.stringify(key)}`)
    t.equal(spellBrowser(key), browser, `browser of ${JSON.stringify(key)}`)
  }
})

t.test('a rule chooses its spellings, RFC 3986 first', async (t) => {
  t.same(spellers('both'), [spellRfc3986, spellBrowser])
  t.same(spellers('rfc3986'), [spellRfc3986])
  t.same(spellers('browser'), [spellBrowser])
})

t.test('both spellings decode back to any key, and are ASCII that Fast Purge takes', async (t) => {
  const below = random(20261)
  for (let round = 0; round < 2000; round++) {
    const key = Array.from({ length: 1 + below(30) }, () => alphabet[below(alphabet.length)]).join('')
    for (const spelled of [spellRfc3986(key), spellBrowser(key)]) {
      if (decodeURIComponent(spelled) !== key) t.equal(decodeURIComponent(spelled), key)
      const fault = checkUrl(`https://www.example.com/${spelled}`)
      if (fault !== undefined) t.fail(`${JSON.stringify(key)} became ${spelled}, which ${fault}`)
    }
    if (!/^(?:[A-Za-z0-9\-._~/]|%[0-9A-F]{2})*$/.test(spellRfc3986(key))) t.fail(`${spellRfc3986(key)} is not RFC 3986`)
  }
})

t.test('the browser spelling is what the URL parser of browsers sends, but for bytes that Fast Purge or a URL cannot hold', async (t) => {
  const bare = [...Array(128).keys()].map((code) => String.fromCharCode(code)).filter((character) => !'#%*?\\|'.includes(character))
  for (const character of bare) {
    // Tabs and line breaks are dropped, spaces at the ends trimmed by the parser: wrapped, and these three left out.
    if ('\t\n\r'.includes(character)) continue
    t.equal(`/a${spellBrowser(character)}b`, new URL(`https://www.example.com/a${character}b`).pathname, `U+${character.charCodeAt(0).toString(16)}`)
  }
})

t.test('URLs that callers give are refused with a reason, or pass', async (t) => {
  const table: Array<[string, RegExp | undefined, string | undefined]> = [
    ['https://www.example.com/a', undefined, 'www.example.com'],
    ['http://www.example.com', undefined, 'www.example.com'],
    ['HTTPS://WWW.Example.com:8443/a?b=c/d&e=%2a', undefined, 'www.example.com'],
    ['https://www.example.com./a', undefined, 'www.example.com'],
    ['/L/512/6848/1h/www.example.com/path', undefined, 'www.example.com'],
    ['/L/512/6848/1h/www.example.com', undefined, 'www.example.com'],
    ['https://www.example.com/é', /outside ASCII/, 'www.example.com'],
    ['https://exämple.com/', /outside ASCII/, undefined],
    ['https://www.example.com/a b', /space or control/, 'www.example.com'],
    ['https://www.example.com/a\n', /space or control/, 'www.example.com'],
    ['https://www.example.com/*', /wildcards/, 'www.example.com'],
    ['https://www.example.com/a#b', /fragment/, 'www.example.com'],
    ['https://me:secret@www.example.com/', /user name/, undefined],
    ['https://good.example\\@evil.example/', /user name/, undefined],
    ['https:///a', /host name/, undefined],
    ['https://?a', /host name/, undefined],
    ['https://www.example.com:port/', /host name/, undefined],
    ['https://-a.example/', /host name/, undefined],
    ['ftp://www.example.com/', /neither/, undefined],
    ['www.example.com/a', /neither/, undefined],
    ['', /neither/, undefined],
    ['//www.example.com/a', /no ARL/, undefined],
    ['/path', /no ARL/, undefined],
    ['/L/512/6848/1h', /no ARL/, undefined],
    ['/L/512/6848/1h/me@www.example.com/', /no ARL/, undefined]
  ]
  for (const [url, reason, host] of table) {
    const fault = checkUrl(url)
    if (reason === undefined) t.equal(fault, undefined, `${url} passes`)
    else t.match(fault, reason, `${JSON.stringify(url)} is refused`)
    t.equal(urlHost(url), host, `host of ${JSON.stringify(url)}`)
  }
})

t.test('cache tags follow the rules of Fast Purge', async (t) => {
  for (const tag of ['a', 'A'.repeat(128), 'black-friday', "sku_1!#$%&'+-.^_`|~"]) t.equal(checkTag(tag), undefined, tag)
  t.match(checkTag(''), /empty/)
  t.match(checkTag('a'.repeat(129)), /longer than 128/)
  for (const character of [' ', '"', '(', ')', '*', ',', '/', ':', ';', '<', '=', '>', '?', '@', '[', '\\', ']', '{', '}', 'é', '😀', '\n', '\u007f']) {
    t.match(checkTag(`a${character}b`), JSON.stringify(character), `${JSON.stringify(character)} is refused`)
  }
})
