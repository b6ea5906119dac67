/**
 * How the objects of a purge must be written. An edge files a URL under the bytes the viewer sent, so a purge in another
 * spelling is accepted and does nothing.
 */

/** Bytes that RFC 3986 calls unreserved: never escaped. */
const unreserved = /[A-Za-z0-9\-._~]/
/** What browsers escape in a path, and `*`, which Fast Purge would take for a wildcard; controls and non-ASCII come on top. */
const browserEscapes = ' "#%*<>?\\^`{|}'

/** `text` as UTF-8 with upper-case percent escapes for every byte that `bare` does not let through. */
function escape (text: string, bare: (character: string) => boolean): string {
  let escaped = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const character = String.fromCharCode(byte)
    escaped += bare(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return escaped
}

/** A key as RFC 3986 spells a path: every byte but `A-Za-z0-9-._~` escaped within a segment, `/` kept. */
export function spellRfc3986 (key: string): string {
  return escape(key, (character) => character === '/' || unreserved.test(character))
}

/** A key as a browser spells it when a page names it bare: only what a URL cannot hold is escaped. */
export function spellBrowser (key: string): string {
  return escape(key, (character) => character > '\u001f' && character < '\u007f' && !browserEscapes.includes(character))
}

/** Which spellings a rule purges; `both` is RFC 3986's, then the browser's where it differs. */
export type Spelling = 'both' | 'rfc3986' | 'browser'

/** The ways to spell a key that a rule asks for, in the order of its purges. */
export function spellers (spelling: Spelling): Array<(key: string) => string> {
  if (spelling === 'rfc3986') return [spellRfc3986]
  return spelling === 'browser' ? [spellBrowser] : [spellRfc3986, spellBrowser]
}

const absoluteUrl = /^https?:\/\/([^/?#]*)/i
const hostAndPort = /^([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?)(?::\d{1,5})?$/
const arl = /^\/L\/[^/]+\/[^/]+\/[^/]+\/([^/]+)(?:\/|$)/

/**
 * Why Fast Purge would refuse or misread a URL or ARL (`/L/serial/cpcode/ttl/host/path`) that a caller gave, in words
 * for the caller; `undefined` if it may be sent as it is.
 */
export function checkUrl (url: string): string | undefined {
  // eslint-disable-next-line no-control-regex
  if (/[^\u0000-\u007f]/.test(url)) return 'holds a character outside ASCII: percent-encode the path as UTF-8 and write the host in punycode'
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f]/.test(url)) return 'holds a space or control character: percent-encode it'
  if (url.includes('*')) return 'holds a `*`: Fast Purge knows no wildcards, and a literal one is written %2A'
  if (url.includes('#')) return 'holds a `#`: leave the fragment out, and write a literal one as %23'
  if (url.startsWith('/')) return urlHost(url) === undefined ? 'is no ARL of the form /L/serial/cpcode/ttl/host/path' : undefined
  const authority = absoluteUrl.exec(url)?.[1]
  if (authority === undefined) return 'is neither an absolute http(s) URL nor an ARL (/L/...)'
  if (authority.includes('@')) return 'holds a user name or password: leave it out'
  return urlHost(url) === undefined ? 'has no valid host name' : undefined
}

/** The lower-case host name, without port, that a URL or ARL is about; `undefined` where there is none to be sure of. */
export function urlHost (url: string): string | undefined {
  const authority = url.startsWith('/') ? arl.exec(url)?.[1] : absoluteUrl.exec(url)?.[1]
  return authority === undefined ? undefined : hostAndPort.exec(authority)?.[1]?.toLowerCase().replace(/\.$/, '')
}

/**
 * Why Fast Purge would refuse a cache tag, or take it and purge nothing (a tag over 128 characters gives no error);
 * `undefined` if it is good. The characters are those of Akamai's documentation.
 */
export function checkTag (tag: string): string | undefined {
  if (tag === '') return 'is empty'
  if (tag.length > 128) return 'is longer than 128 characters: Fast Purge would accept it and purge nothing'
  const wrong = /[^A-Za-z0-9!#$%&'+\-.^_`|~]/u.exec(tag)?.[0]
  return wrong === undefined ? undefined : `holds ${JSON.stringify(wrong)}, which no cache tag may hold`
}
