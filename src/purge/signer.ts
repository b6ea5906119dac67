import { createRequire } from 'node:module'
import type { EdgeGridCredentials } from './credentials.ts'

/** A POST as `fetch` takes it: what is signed is exactly what is sent. */
export interface SignedRequest {
  url: string
  method: 'POST'
  headers: Record<string, string>
  /** Undefined for a request without a body. */
  body: string | undefined
}

/** What we use of the package, whose own types say `object`. */
interface EdgeGrid {
  config: { host: string }
  request: { url: string, headers: { Authorization: string } }
  auth (request: { path: string, method: 'POST', headers: Record<string, string>, body: string }): EdgeGrid
  enableLogging (on: boolean): EdgeGrid
}
type EdgeGridConstructor = new (clientToken: string, clientSecret: string, accessToken: string, host: string) => EdgeGrid

const Signer = loadQuietly()

/**
 * `AKAMAI_LOG_*` makes the package log signing keys from the moment it loads, and fail to load without a pretty printer:
 * it never sees them.
 */
function loadQuietly (): EdgeGridConstructor {
  const hidden = Object.entries(process.env).filter(([name]) => name.startsWith('AKAMAI_LOG_'))
  for (const [name] of hidden) delete process.env[name]
  try {
    return createRequire(import.meta.url)('akamai-edgegrid') as EdgeGridConstructor
  } finally {
    Object.assign(process.env, Object.fromEntries(hidden))
  }
}

/** The origin an EdgeGrid host stands for: https, unless an emulator's `http://` is spelled out. */
export function edgeGridOrigin (host: string): string {
  return new URL(/^https?:\/\//i.test(host) ? host : `https://${host}`).origin
}

/**
 * Signs with `akamai-edgegrid` (EG1-HMAC-SHA256), which is given nothing to send. Make one per credential: each makes the
 * package hook into the axios of the whole process once more. Each call takes a new timestamp and nonce, so call it just
 * before sending and again for a retry. `path` begins with one slash and may hold a query.
 */
export function createSigner (credentials: EdgeGridCredentials): (path: string, body?: string) => SignedRequest {
  const origin = edgeGridOrigin(credentials.host)
  const edgeGrid = new Signer(credentials.clientToken, credentials.clientSecret, credentials.accessToken, origin)
  edgeGrid.enableLogging(false)
  // The constructor would turn http://host into https://http://host.
  edgeGrid.config.host = origin
  return (path, body) => {
    // Only an upper-case POST and a string body get the content hash; the result is good until the next call.
    const { url, headers } = edgeGrid.auth({ path, method: 'POST', headers: {}, body: body ?? '' }).request
    return {
      url,
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json', authorization: headers.Authorization },
      body
    }
  }
}
