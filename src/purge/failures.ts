import { AppError, type AppErrorOptions } from '../errors.ts'
import type { PurgeObject } from './batch.ts'
import { readRateLimit, readRetryAfter, type RateLimit } from './rate-limit.ts'

/** Fast Purge will never take this request: all of it was refused, for one object or for its shape. */
export class PurgeRefused extends AppError {
  /** The object at fault, where the answer names one of those sent. */
  readonly offender: PurgeObject | undefined
  /** Akamai's words. */
  readonly reason: string

  constructor (message: string, reason: string, offender?: PurgeObject) {
    super('purge_refused', message)
    this.reason = reason
    this.offender = offender
  }
}

/** The bucket that was short: what the request needed of it and what it held, as far as the answer says. */
export interface Shortage {
  bucket: 'requests' | 'objects'
  limit: number | undefined
  needed: number | undefined
  remaining: number | undefined
}

/** A token bucket was short; nothing was consumed and nothing purged. */
export class PurgeRateLimited extends AppError {
  /** Both buckets as the answer shows them, for the planner to believe over its own count. */
  readonly rateLimit: RateLimit | undefined
  readonly shortage: Shortage

  constructor (message: string, rateLimit: RateLimit | undefined, shortage: Shortage, options: AppErrorOptions) {
    super('purge_rate_limited', message, options)
    this.rateLimit = rateLimit
    this.shortage = shortage
  }
}

/** An answer that is no acceptance, and what it was the answer to. */
export interface Refusal {
  status: number
  headers: Headers
  text: string
  /** What was tried, as `invalidate 3 URLs on production`. */
  attempt: string
  objects: readonly PurgeObject[]
  /** The local time at which the answer came. */
  now: Date
}

/** The members of a body; none for what is no JSON object, such as a proxy's page. */
export function readBody (text: string): Record<string, unknown> | undefined {
  try {
    const body: unknown = JSON.parse(text)
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? body as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

/**
 * The error an answer stands for. The gateway (EdgeGrid: credentials, signature, clock, grant) answers with `status` and
 * `type`, the purge service with `httpStatus`; only the latter knows of objects.
 */
export function toPurgeError (refusal: Refusal): AppError {
  const { status, headers, objects } = refusal
  const body = readBody(refusal.text)
  const words = readWords(body, headers)
  const message = (advice: string) => `Fast Purge answered ${status} (${words}) to ${refusal.attempt}. ${advice}`
  const detail = textOf(body?.detail)
  const fromGateway = body !== undefined && body.httpStatus === undefined && (body.type !== undefined || body.status !== undefined)

  if (status === 429) {
    const rateLimit = readRateLimit(headers)
    // "URL Rate Limit exceeded" is the bucket of the objects, a bare "Rate Limit exceeded" that of the requests.
    const bucket = /^\s*rate limit/i.test(textOf(body?.title)) ? 'requests' : 'objects'
    const shortage = { bucket, limit: numberOf(body?.rateLimit), needed: numberOf(body?.rateLimitCurrentRequestSize), remaining: numberOf(body?.rateLimitRemaining) ?? rateLimit?.[bucket].remaining } as const
    const seconds = readRetryAfter(headers, shortage, rateLimit)
    return new PurgeRateLimited(message(`Nothing was purged; it makes sense again in ${Math.ceil(seconds)} s.`), rateLimit, shortage, { retryAfterSeconds: seconds })
  }
  if (status === 413) return new PurgeRefused(message('The request was too large: send fewer objects.'), words)
  // A 400 without JSON is the answer of a firewall under load; a 2xx other than 201 accepts nothing for sure.
  const passing = status < 300 || status >= 500 || status === 408 || (status === 400 && body === undefined)
  if (passing) return new AppError('purge_unavailable', message('It will be tried again.'))
  if (status === 400 && /invalid timestamp/i.test(detail)) return new AppError('purge_forbidden', message(clockAdvice(refusal)))
  if (status === 400 && /invalid endpoint/i.test(detail)) {
    return new AppError('purge_forbidden', message('Check that the API host belongs to this API client and is enabled for purge, and that the client has the grant "CCU APIs" READ-WRITE.'))
  }
  if (status === 401 || (status === 400 && fromGateway)) {
    return new AppError('purge_forbidden', message('Check the client token, client secret and access token, that they belong to this host, and that the API client is active.'))
  }
  if (status === 403 && (fromGateway || body === undefined)) {
    return new AppError('purge_forbidden', message('Give the API client the grant "CCU APIs" READ-WRITE.'))
  }
  if (status === 400 || status === 403) {
    const advice = status === 403 ? 'Check that the API client may purge the host or CP code that is named.' : 'Check how it is written.'
    return new PurgeRefused(message(`Nothing of the request was purged. ${advice}`), words, findOffender(detail, objects))
  }
  return new AppError('purge_forbidden', message('No purge API answers so: check the API host and what stands between.'))
}

/** Akamai's title and detail in one line, or what came in their place. Nothing that echoes an Authorization gets through. */
function readWords (body: Record<string, unknown> = {}, headers: Headers): string {
  const said = [textOf(body.title), textOf(body.detail)].filter((text) => text !== '').join(': ')
  const words = said.replace(/\s+/g, ' ').replace(/EG1-HMAC-SHA256.*|signature=.*/i, '[redacted]').slice(0, 500)
  if (words === '') return `no reason given, content type ${headers.get('content-type')}`
  const id = ['supportId', 'requestId'].find((member) => textOf(body[member]) !== '')
  return id === undefined ? words : `${words}; ${id} ${textOf(body[id]).slice(0, 100)}`
}

/** The window is 30 s either way; the `Date` of the answer, good to a second, shows by how much this clock misses it. */
function clockAdvice ({ headers, now }: Refusal): string {
  const theirs = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(theirs)) return 'The clock of this machine is more than 30 s off: set it right (NTP).'
  const seconds = Math.round((now.getTime() - theirs) / 1000)
  return `The clock of this machine is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} Akamai's, and 30 s is the most: set it right (NTP).`
}

/**
 * The object a refusal names: its detail is the object itself, or quotes it. The longest wins, and it must end where the
 * text's word ends, so that `/a` is not blamed for `/ab`.
 */
export function findOffender (detail: string, objects: readonly PurgeObject[]): PurgeObject | undefined {
  const named = objects.filter((object) => {
    const text = String(object)
    for (let at = detail.indexOf(text); at >= 0; at = detail.indexOf(text, at + 1)) {
      if (/^$|[\s'"`(<[,:;]/.test(detail.charAt(at - 1)) && /^(?:$|['"`)>\],:;.]*(?:\s|$)|['"`])/.test(detail.slice(at + text.length))) return true
    }
    return false
  })
  return named.sort((a, b) => String(b).length - String(a).length)[0]
}

const textOf = (value: unknown): string => typeof value === 'string' ? value : ''
const numberOf = (value: unknown): number | undefined => typeof value === 'number' && Number.isFinite(value) ? value : undefined
