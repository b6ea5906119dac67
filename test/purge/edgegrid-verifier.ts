import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** One entry of the vectors: a request, and what its signature must be. */
export interface Vector {
  id: string
  name: string
  credentials?: 'A' | 'B'
  timestamp: string
  nonce: string
  method: string
  scheme: string
  host: string
  target: string
  headers: Record<string, string>
  headers_to_sign: string[]
  max_body: number
  body?: string | null
  body_generator?: { prefix?: string, unit: string, count: number, suffix?: string, suffix_count?: number }
  expected: { authorization: string }
  byte_rule_authorization?: string
}

export interface Secrets { client_token: string, client_secret: string, access_token: string, host: string }

/** The published and the made-up vectors, from the fixtures. */
export const fixtures = JSON.parse(readFileSync(new URL('../fixtures/edgegrid-vectors.json', import.meta.url), 'utf8')) as {
  credentials: Record<'A' | 'B', Secrets>
  vectors: Vector[]
  published: { credentials: Secrets, vectors: Vector[] }
  negative: Array<{ id: string, change: string, http: number, detail: string | null }>
}

/** The body of a vector, generated where it is too long to write down. */
export function bodyOf ({ body, body_generator: generator }: Pick<Vector, 'body' | 'body_generator'>): string {
  if (generator === undefined) return body ?? ''
  const { prefix = '', unit, count, suffix = '', suffix_count: suffixCount = 0 } = generator
  return prefix + unit.repeat(count) + suffix.repeat(suffixCount)
}

/** A request as a server receives it. */
export interface Received extends Pick<Vector, 'method' | 'scheme' | 'host' | 'target' | 'headers'> { body: string, authorization: string }

export interface Policy { secrets: Secrets, now: Date, headersToSign?: string[], maxBody?: number, seen?: Set<string>, disabled?: boolean, granted?: boolean }

/** What a strict gateway says of a request: 201 or its refusal. Written from the rule of the vectors, sharing nothing with the signer. */
export function verify (request: Received, policy: Policy): { status: number, detail?: string } {
  const { secrets, now, headersToSign = [], maxBody = 131_072, seen } = policy
  const parts = /^EG1-HMAC-SHA256 client_token=([^;]+);access_token=([^;]+);timestamp=([^;]+);nonce=([^;]+);signature=([A-Za-z0-9+/]+={0,2})$/.exec(request.authorization)
  if (parts === null) return { status: 400, detail: 'not EG1-HMAC-SHA256' }
  const [, clientToken, accessToken, timestamp = '', nonce = '', signature = ''] = parts
  const stamp = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)\+0000$/.exec(timestamp)
  const signedAt = stamp === null ? NaN : Date.parse(`${stamp[1]}-${stamp[2]}-${stamp[3]}T${stamp[4]}Z`)
  if (!(Math.abs(now.getTime() - signedAt) <= 30_000)) return { status: 400, detail: 'Invalid timestamp' }
  if (clientToken !== secrets.client_token || accessToken !== secrets.access_token) return { status: 400, detail: 'Invalid client token' }
  if (policy.disabled === true) return { status: 401, detail: 'Inactive client token' }
  const headers = headersToSign.filter((name) => request.headers[name] !== undefined)
    .map((name) => `${name.toLowerCase()}:${request.headers[name]?.trim().replace(/\s+/g, ' ')}`)
  const bytes = Buffer.from(request.body).subarray(0, maxBody)
  const hash = request.method === 'POST' && bytes.length > 0 ? createHash('sha256').update(bytes).digest('base64') : ''
  const unsigned = request.authorization.slice(0, request.authorization.indexOf('signature='))
  const signed = [request.method, request.scheme, request.host, request.target, headers.join('\t'), hash, unsigned].join('\t')
  const key = createHmac('sha256', secrets.client_secret).update(timestamp).digest('base64')
  const expected = createHmac('sha256', key).update(signed).digest()
  const given = Buffer.from(signature, 'base64')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return { status: 401, detail: 'The signature does not match' }
  if (seen?.has(nonce) === true) return { status: 400, detail: 'nonce seen before' }
  seen?.add(nonce)
  if (policy.granted === false) return { status: 403, detail: 'The client does not have the grant needed for the request' }
  return { status: 201 }
}
