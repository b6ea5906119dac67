/** One token bucket of the account, as Fast Purge reports it; a number it left out is undefined. */
export interface Bucket {
  /** Size, which is also the largest burst. */
  limit: number | undefined
  perSecond: number | undefined
  remaining: number | undefined
  /** Until the bucket is full again, not until the next token. */
  secondsToFull: number | undefined
}

/** The two buckets a request draws from: one token for itself, and one per object of its type. */
export interface RateLimit {
  requests: Bucket
  objects: Bucket
}

/** The eight `X-Ratelimit-*` headers; undefined if the answer has none of them. */
export function readRateLimit (headers: Headers): RateLimit | undefined {
  const bucket = (suffix: string): Bucket => ({
    limit: readNumber(headers, `x-ratelimit-limit${suffix}`),
    perSecond: readNumber(headers, `x-ratelimit-limit-per-second${suffix}`),
    remaining: readNumber(headers, `x-ratelimit-remaining${suffix}`),
    secondsToFull: readNumber(headers, `x-ratelimit-seconds-to-refresh-limit${suffix}`)
  })
  const rateLimit = { requests: bucket(''), objects: bucket('-objects') }
  const known = [...Object.values(rateLimit.requests), ...Object.values(rateLimit.objects)].some((value) => value !== undefined)
  return known ? rateLimit : undefined
}

function readNumber (headers: Headers, name: string): number | undefined {
  const text = headers.get(name)?.trim() ?? ''
  return /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined
}

/**
 * How long a 429 asks to wait, in seconds: `Retry-After` in seconds should it ever come; else until the short bucket holds
 * what the request needs, (needed - remaining) / rate; 5, as Akamai advises, where the answer does not say.
 */
export function readRetryAfter (headers: Headers, short: { bucket: 'requests' | 'objects', needed: number | undefined, remaining: number | undefined }, rateLimit: RateLimit | undefined): number {
  const told = readNumber(headers, 'retry-after')
  if (told !== undefined) return told
  const perSecond = rateLimit?.[short.bucket].perSecond
  if (perSecond === undefined || perSecond === 0 || short.needed === undefined || short.remaining === undefined) return 5
  return Math.max(0, (short.needed - short.remaining) / perSecond)
}
