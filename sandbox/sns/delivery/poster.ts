import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

/** How an endpoint answered; no status = it did not answer. */
export interface Answer { status?: number, headers?: IncomingHttpHeaders, reason?: string }

/** What an answer means to SNS. */
export type Verdict = 'delivered' | 'failed' | 'refused'

/**
 * 2xx is delivered; 5xx and silence are tried again; 4xx is final. AWS says nothing about 3xx and contradictory things
 * about 429: here they are final, so that a service that sends them loses messages in its tests.
 */
export function verdictOn ({ status }: Answer): Verdict {
  if (status === undefined || status < 200 || status > 499) return 'failed'
  return status < 300 ? 'delivered' : 'refused'
}

/** The realm of a Basic challenge. Without one SNS never sends the credentials. */
export function hasBasicChallenge ({ status, headers }: Answer): boolean {
  return status === 401 && /(?:^|,)\s*basic\s(?:.*,)?\s*realm\s*=\s*(?:"[^"]+"|[^\s",]+)/i.test(headers?.['www-authenticate'] ?? '')
}

/** `Basic ...` of a URL's user and password; undefined if it has none. */
export function basicCredentials ({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined
  return `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`
}

/** Posts bodies over connections that are kept. */
export class Poster {
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: 100 })
  readonly #https = new HttpsAgent({ keepAlive: true, maxSockets: 100 })
  readonly #timeoutMs: number
  readonly #signal: AbortSignal

  constructor (timeoutMs: number, signal: AbortSignal) {
    this.#timeoutMs = timeoutMs
    this.#signal = signal
  }

  /** Never throws and never follows a redirect. */
  async post (endpoint: URL, headers: Record<string, string>, body: Buffer): Promise<Answer> {
    const { protocol, hostname, port, pathname, search } = endpoint
    const [make, agent] = protocol === 'https:' ? [httpsRequest, this.#https] as const : [httpRequest, this.#http] as const
    return await new Promise(resolve => {
      const outgoing = make({
        agent,
        method: 'POST',
        // Not the URL itself: Node would send its user and password unasked.
        hostname: hostname.replace(/^\[|\]$/g, ''),
        port,
        path: pathname + search,
        signal: this.#signal,
        headers: { ...headers, 'Content-Length': body.length }
      })
      let timer: NodeJS.Timeout | undefined
      outgoing.on('socket', () => { timer = setTimeout(() => { outgoing.destroy(new Error('no answer in time')) }, this.#timeoutMs) })
      outgoing.on('response', ({ statusCode: status, headers }) => { resolve({ ...(status === undefined ? {} : { status }), headers }) })
      outgoing.on('response', incoming => { incoming.resume().on('error', () => {}) })
      outgoing.on('error', error => { resolve({ reason: error.message }) })
      outgoing.on('close', () => { clearTimeout(timer) })
      outgoing.end(body)
    })
  }

  close (): void {
    this.#http.destroy()
    this.#https.destroy()
  }
}
