import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** One API client as the gateway knows it. */
export interface ApiClient {
  clientToken: string
  clientSecret: string
  accessToken: string
  /** Whether it may purge; true unless said otherwise. */
  grant?: boolean
  /** False = switched off. */
  active?: boolean
}

/** A request as it arrived, byte for byte. */
export interface SignedRequest {
  method: string
  scheme: 'http' | 'https'
  host: string
  target: string
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

export interface SignaturePolicy {
  clients: readonly ApiClient[]
  nowMs: number
  windowSeconds: number
  headersToSign?: readonly string[]
  maxBody?: number
  /** Whether this client used the nonce before; undefined = not checked. */
  isReplay?: (clientToken: string, nonce: string) => boolean
}

/** A refusal of the gateway, before the purge service sees the request. */
export interface GatewayRefusal { status: 400 | 401 | 403, problem: 'pep-authn/request-error' | 'pep-authn/deny' | 'pep-authz/deny', title: string, detail: string }

const bad = (detail: string): GatewayRefusal => ({ status: 400, problem: 'pep-authn/request-error', title: 'Bad request', detail })
const deny = (detail: string): GatewayRefusal => ({ status: 401, problem: 'pep-authn/deny', title: 'Not authorized', detail })

/** Verifies EG1-HMAC-SHA256 over the raw request, in the order of the gateway. Undefined = let it pass. Pure but for `isReplay`. */
export function checkSignature (request: SignedRequest, policy: SignaturePolicy): GatewayRefusal | undefined {
  const { authorization } = request.headers
  const parts = typeof authorization !== 'string'
    ? null
    : /^EG1-HMAC-SHA256 client_token=([^;\s]+);access_token=([^;\s]+);timestamp=([^;\s]+);nonce=([^;\s]+);signature=([A-Za-z0-9+/]{43}=)$/.exec(authorization)
  if (parts === null) return bad('Invalid authorization header')
  const [, clientToken = '', accessToken = '', timestamp = '', nonce = '', signature = ''] = parts
  const stamp = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)\+0000$/.exec(timestamp)
  const signedAt = stamp === null ? NaN : Date.parse(`${stamp[1]}-${stamp[2]}-${stamp[3]}T${stamp[4]}Z`)
  if (!(Math.abs(policy.nowMs - signedAt) <= policy.windowSeconds * 1000)) return bad('Invalid timestamp')
  const client = policy.clients.find(each => each.clientToken === clientToken)
  if (client === undefined) return bad('Invalid client token')
  if (client.active === false) return deny('Inactive client token')
  if (client.accessToken !== accessToken) return deny('Invalid access token')
  const unsigned = parts[0].slice(0, parts[0].lastIndexOf('signature='))
  const given = Buffer.from(signature, 'base64')
  const wanted = createHmac('sha256', createHmac('sha256', client.clientSecret).update(timestamp).digest('base64'))
    .update(dataToSign(request, policy, unsigned)).digest()
  if (!timingSafeEqual(given, wanted)) return deny('The signature does not match')
  if (policy.isReplay?.(clientToken, nonce) === true) return bad('Nonce has been used before')
  if (client.grant === false) return { status: 403, problem: 'pep-authz/deny', title: 'Forbidden', detail: 'The client does not have the grant needed for the request' }
  return undefined
}

function dataToSign (request: SignedRequest, { headersToSign = [], maxBody = 131_072 }: SignaturePolicy, unsigned: string): string {
  const headers = headersToSign.flatMap(name => {
    const value = request.headers[name.toLowerCase()]
    return typeof value === 'string' ? [`${name.toLowerCase()}:${value.trim().replace(/\s+/g, ' ')}`] : []
  })
  const hashed = request.method === 'POST' && request.body.length > 0
  const hash = hashed ? createHash('sha256').update(request.body.subarray(0, maxBody)).digest('base64') : ''
  return [request.method, request.scheme, request.host.toLowerCase(), request.target, headers.join('\t'), hash, unsigned].join('\t')
}
