import { AppError } from '../errors.ts'

/** What was tried, for messages; nothing secret. */
export interface Attempt {
  action: 'upload' | 'stat' | 'delete' | 'dir' | 'list'
  host: string
  keyName: string
  cpCode: number
  wirePath: string
}

/** The attempt in words: `stat of /123456/a.css at example-nsu.akamaihd.net`. */
export function describe ({ action, wirePath, host }: Attempt): string {
  return `${action} of ${wirePath} at ${host}`
}

/** Statuses beside 5xx after which the same request may succeed later; 423 is on rclone's list. */
const transient = new Set([408, 423, 429])
/** How a digest or size that does not fit may be answered: undocumented, so each of the plausible ones. */
const digestRefusals = new Set([409, 412, 422])

/** What a server may make us wait at most. */
const longestWaitSeconds = 24 * 60 * 60

/**
 * Seconds from a `Retry-After`, counted from `nowMs`: a whole number, or a date as HTTP writes it. A day at most, so
 * that a slip of the other side cannot bury a job. `undefined` without a readable one.
 */
export function retryAfter (header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  if (/^\d+$/.test(header)) return Math.min(longestWaitSeconds, Number(header))
  // Date.parse would take `-5` or `1.5` for a day in 2001.
  if (!header.endsWith(' GMT')) return undefined
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.min(longestWaitSeconds, Math.max(0, Math.ceil((at - nowMs) / 1000)))
}

/**
 * The error that a status means where it is no answer to what was asked; even a 2xx is none before the body was sent.
 * Bodies are free text and not stable, so only the status decides.
 */
export function refusal (attempt: Attempt, status: number, retryAfterSeconds?: number): AppError {
  const answered = `NetStorage answered ${status} to ${describe(attempt)}`
  if (status < 300) return new AppError('netstorage_unavailable', `${answered}, which is no answer to it: nothing counts as done, and it will be tried again.`)
  if (status === 401 || status === 403) {
    return new AppError('netstorage_forbidden', `${answered}: check that key name ${attempt.keyName} exists and its key is right ` +
      `(a new one takes up to 2 hours to work), that the upload account may use CP code ${attempt.cpCode}, and that this machine's clock is right.`)
  }
  if (status >= 500 || transient.has(status)) {
    return new AppError('netstorage_unavailable', `${answered}; it may work later.`,
      retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
  }
  if (attempt.action === 'upload' && digestRefusals.has(status)) {
    return new AppError('netstorage_digest_refused', `${answered}: the bytes that arrived have another size or digest than was announced, and were not stored.`)
  }
  return new AppError('netstorage_refused', `${answered}: ${advice(attempt, status)}.`)
}

function advice ({ action, cpCode }: Attempt, status: number): string {
  if (status < 400) return 'redirects are not followed, check the host name of the upload account'
  if (status === 404) return `check that CP code ${cpCode} is an upload directory of this account`
  if (action === 'dir' && status === 412) return 'this is a file, not a directory'
  return 'it cannot take this request as it is'
}
