import { createHmac } from 'node:crypto'
import { request, type IncomingHttpHeaders } from 'node:http'

/** The account that these requests are signed for unless they say otherwise. */
export const account = { keyName: 'svc-upload', key: 'Zx9-Secret_Key', cpCodes: [123456] }

/** A request to a NetStorage emulator, signed here so that it owes nothing to the client of the service. */
export interface SignedRequest {
  /** As it stands in the request line. */
  path: string
  /** What follows `version=1&action=`; or with `version=` all of it. */
  action: string
  /** GET for what reads, else PUT. */
  method?: string
  /** A list is sent chunk by chunk. */
  body?: string | Buffer | string[]
  headers?: Record<string, string | string[]>
  /** The action of signed trailers; or trailers as they are. */
  trailers?: string | Record<string, string>
  sign?: SignSettings
  signal?: AbortSignal
}

export interface SignSettings { keyName?: string, key?: string, nowSeconds?: number, id?: string, authData?: string }

export interface SignedAnswer { status: number, headers: IncomingHttpHeaders, body: Buffer, text: string }

let last = 0
const reads = /(^|action=)(stat|dir|list|du|download)\b/

/** The three headers, over the path and action as they are sent. */
export function signed (path: string, action: string, { keyName = account.keyName, key = account.key, nowSeconds = Math.floor(Date.now() / 1000), id = String(++last), authData }: SignSettings = {}): Record<string, string> {
  const data = authData ?? `5, 0.0.0.0, 0.0.0.0, ${nowSeconds}, ${id}, ${keyName}`
  return {
    'X-Akamai-ACS-Action': action,
    'X-Akamai-ACS-Auth-Data': data,
    'X-Akamai-ACS-Auth-Sign': createHmac('sha256', key).update(`${data}${path}\nx-akamai-acs-action:${action}\n`).digest('base64')
  }
}

/** Sends it over a connection of its own and reads the whole answer; rejects where the connection breaks. */
export async function ask (origin: string, { path, action, method, body, headers, trailers, sign, signal }: SignedRequest): Promise<SignedAnswer> {
  const whole = action.includes('version=') ? action : `version=1&action=${action}`
  return await new Promise((resolve, reject) => {
    const outgoing = request(origin, {
      path, method: method ?? (reads.test(action) ? 'GET' : 'PUT'), agent: false, headers: { ...signed(path, whole, sign), ...headers }, ...(signal === undefined ? {} : { signal })
    }, incoming => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('error', reject)
      incoming.on('end', () => {
        const all = Buffer.concat(chunks)
        resolve({ status: incoming.statusCode as number, headers: incoming.headers, body: all, text: all.toString('latin1') })
      })
    })
    outgoing.on('error', reject)
    if (Array.isArray(body)) for (const chunk of body) outgoing.write(chunk)
    if (trailers !== undefined) outgoing.addTrailers(typeof trailers === 'string' ? signed(path, `version=1&action=${trailers}`, sign) : trailers)
    outgoing.end(Array.isArray(body) ? undefined : body)
  })
}
