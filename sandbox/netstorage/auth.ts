import { createHmac, timingSafeEqual } from 'node:crypto'

/** An upload account: who may sign, with what, for which CP codes. */
export interface Account {
  keyName: string
  key: string
  cpCodes: number[]
}

/** The three values that make a request, or its trailers, an API call. */
export interface SignedValues {
  action: string
  authData: string
  authSign: string
}

/** A refusal in words. Every one of them is a 403. */
export interface Refusal {
  refusal: string
}

const HASHES: Record<string, string> = { 3: 'md5', 4: 'sha1', 5: 'sha256' }
const SIGNED: Record<string, keyof SignedValues> = {
  'x-akamai-acs-action': 'action',
  'x-akamai-acs-auth-data': 'authData',
  'x-akamai-acs-auth-sign': 'authSign'
}
// the Java and C# kits announce themselves with it
const TOLERATED = 'x-akamai-nskit'

/**
 * The signed values among raw headers or trailers (name, value, name, value). Each must be there once, names in any
 * case; any other `X-Akamai-*` name is refused.
 */
export function readSignedValues (raw: string[]): SignedValues | Refusal {
  const values: Partial<SignedValues> = {}
  for (let index = 0; index < raw.length; index += 2) {
    const [name, value] = [String(raw[index]).toLowerCase(), String(raw[index + 1])]
    if (!name.startsWith('x-akamai-') || name === TOLERATED) continue
    const member = SIGNED[name]
    if (member === undefined) return { refusal: `the header ${name} is not one of the API` }
    if (values[member] !== undefined) return { refusal: `the header ${name} came twice` }
    values[member] = value.replace(/^[ \t]+|[ \t]+$/g, '')
  }
  const { action, authData, authSign } = values
  if (action === undefined) return { refusal: 'no X-Akamai-ACS-Action: not an API call' }
  if (authData === undefined || authSign === undefined) return { refusal: 'X-Akamai-ACS-Auth-Data or X-Akamai-ACS-Auth-Sign is missing' }
  return { action, authData, authSign }
}

/**
 * Checks a signature over the raw request target (Usage API, "Authenticate"): base64 HMAC, by the version in
 * Auth-Data, of `<Auth-Data><path>\nx-akamai-acs-action:<Action>\n`. The answer has the account and what makes the
 * request one of a kind, for a replay check.
 */
export function verify (
  path: string,
  signed: SignedValues,
  rules: { accounts: readonly Account[], nowSeconds: number, windowSeconds: number }
): { account: Account, once: string, refusal?: undefined } | Refusal {
  const fields = signed.authData.split(',').map((field) => field.trim())
  const [version = '', second, third, time = '', id = '', keyName = ''] = fields
  const hash = Object.hasOwn(HASHES, version) ? HASHES[version] : undefined
  if (fields.length !== 6) return { refusal: `Auth-Data has ${fields.length} fields, not 6` }
  if (hash === undefined) return { refusal: `Auth-Data has the version "${version}", not 3, 4 or 5` }
  if (second !== '0.0.0.0' || third !== '0.0.0.0') return { refusal: 'the second and third field of Auth-Data must be 0.0.0.0' }
  if (!/^\d{1,12}$/.test(time)) return { refusal: 'the time in Auth-Data is no whole number of seconds' }
  if (id === '') return { refusal: 'the unique id in Auth-Data is empty' }
  const account = rules.accounts.find((candidate) => candidate.keyName === keyName)
  if (account === undefined) return { refusal: `no upload account "${keyName}"` }
  const text = Buffer.from(`${signed.authData}${path}\nx-akamai-acs-action:${signed.action}\n`, 'latin1')
  const expected = createHmac(hash, account.key).update(text).digest('base64')
  if (!equal(expected, signed.authSign)) return { refusal: 'the signature does not match' }
  const skew = Number(time) - rules.nowSeconds
  if (Math.abs(skew) > rules.windowSeconds) return { refusal: `the clock of the client is ${Math.round(skew)} s off` }
  return { account, once: `${keyName},${time},${id}` }
}

function equal (expected: string, sent: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(sent)]
  return a.length === b.length && timingSafeEqual(a, b)
}
