import { createHmac } from 'node:crypto'

/**
 * The signature of NetStorage's Usage API ("ACS headers"), pure: Akamai techdocs, NetStorage Usage API, authentication.
 * Method, host, body and other headers are not signed; the path is, in the very bytes of the request line.
 */

/** The unreserved bytes of RFC 3986, which alone go bare. */
const unreserved = /^[A-Za-z0-9\-._~]$/
const escapes = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return unreserved.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

/** Each byte of `text` (a string as UTF-8) percent-encoded in upper-case hex, unless RFC 3986 calls it unreserved. */
function encodeValue (text: string | number | Uint8Array): string {
  let encoded = ''
  for (const byte of text instanceof Uint8Array ? text : Buffer.from(String(text), 'utf8')) encoded += escapes[byte]
  return encoded
}

/**
 * A raw name, bytes or text, as it stands in the request line; encoded once, slashes kept. Dot segments and empty
 * segments are ordinary names on NetStorage, so they stay as they are.
 */
export function encodePath (name: string | Uint8Array): string {
  return encodeValue(name).replaceAll('%2F', '/')
}

/**
 * The value of `X-Akamai-ACS-Action`: `version=1`, then `params` (one is `action`) in their order, without those that
 * are `undefined`. A space becomes `%20` and a plus `%2B`, since the other side reads `+` as a space here.
 */
export function actionHeader (params: Record<string, string | number | Uint8Array | undefined>): string {
  const pairs = Object.entries(params).flatMap(([name, value]) => value === undefined ? [] : [`${name}=${encodeValue(value)}`])
  return ['version=1', ...pairs].join('&')
}

const hashes = { 3: 'md5', 4: 'sha1', 5: 'sha256' } as const

export interface SignOptions {
  /** Id of the upload account; holds neither comma nor space. */
  keyName: string
  key: string
  /** 5 = HMAC-SHA256 (default), 4 = HMAC-SHA1, 3 = HMAC-MD5. */
  version?: 3 | 4 | 5
  /** The request line's path, encoded, with its leading slash and CP code. */
  wirePath: string
  /** What `actionHeader` made. */
  action: string
  /** Unix time; NetStorage refuses what is more than 60 s off. */
  nowSeconds: number
  /** Any token that no other request of this moment bears. */
  uniqueId: string
}

/** The three headers (or, after a body that was hashed on its way, trailers) that authorise one action on one path. */
export function sign ({ keyName, key, version = 5, wirePath, action, nowSeconds, uniqueId }: SignOptions) {
  const authData = `${version}, 0.0.0.0, 0.0.0.0, ${nowSeconds}, ${uniqueId}, ${keyName}`
  const text = `${authData}${wirePath}\nx-akamai-acs-action:${action}\n`
  return {
    'X-Akamai-ACS-Action': action,
    'X-Akamai-ACS-Auth-Data': authData,
    'X-Akamai-ACS-Auth-Sign': createHmac(hashes[version], key).update(text, 'utf8').digest('base64')
  }
}
