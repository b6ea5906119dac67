import { timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'
import { hashSecret, type Scope, type Token } from './tokens.ts'

/** Who calls, and what it may do. Without tokens anybody who is let in may do everything. */
export interface Caller {
  /** The name of the token; never its secret. */
  token?: string
  scopes?: ReadonlySet<Scope>
  buckets?: ReadonlySet<string>
  cpCodes?: ReadonlySet<number>
}

/** Somebody whom nothing limits: callers where there are no tokens, and the service itself. */
export const anybody: Caller = {}

/**
 * The token a secret belongs to. Every hash is compared, each in constant time, so that the time tells nothing; what is
 * compared are hashes, so not even a common beginning could be felt.
 */
export function findCaller (tokens: readonly Token[], secret: string, now: Date): Caller | 'expired' | undefined {
  const hash = hashSecret(secret)
  const matching = tokens.filter(token => timingSafeEqual(token.sha256, hash))
  const valid = matching.find(({ expiresAt }) => expiresAt === undefined || expiresAt > now)
  if (valid === undefined) return matching.length === 0 ? undefined : 'expired'
  const { name, scopes, buckets, cpCodes } = valid
  return { token: name, scopes, ...(buckets === undefined ? {} : { buckets }), ...(cpCodes === undefined ? {} : { cpCodes }) }
}

/** Whether the caller holds a scope. */
export function holds ({ scopes }: Caller, scope: Scope): boolean {
  return scopes?.has(scope) ?? true
}

/** Throws `forbidden` unless the caller holds one of the scopes; `why` says what needs it. */
export function demand (caller: Caller, needed: readonly Scope[], why: string): void {
  if (needed.some(scope => holds(caller, scope))) return
  throw new AppError('forbidden', `The token "${caller.token}" lacks the scope ${needed.join(' or ')}: ${why}.`)
}

/** Whether the caller may touch objects of this bucket. */
export function allowsBucket ({ buckets }: Caller, bucket: string): boolean {
  return buckets?.has(bucket) ?? true
}

/** Throws unless the caller may touch objects of this bucket. */
export function demandBucket (caller: Caller, bucket: string): void {
  if (!allowsBucket(caller, bucket)) throw new AppError('bucket_not_allowed', `The token "${caller.token}" is limited to other buckets than ${bucket}.`)
}

/** Throws unless the caller may name this CP code. */
export function demandCpCode ({ token, cpCodes }: Caller, cpCode: number): void {
  if (cpCodes?.has(cpCode) === false) throw new AppError('cp_code_not_allowed', `The token "${token}" is limited to other CP codes than ${cpCode}.`)
}

/** The secret in an `Authorization` header: Bearer is the secret alone, Basic's user name is ignored. */
export function readSecret (header: string | undefined): string | undefined {
  const [, scheme, value] = /^(Bearer|Basic) +(\S+) *$/i.exec(header ?? '') ?? []
  if (value === undefined || scheme?.toLowerCase() === 'bearer') return value
  const [, secret] = /^[^:]*:([^]+)$/.exec(Buffer.from(value, 'base64').toString()) ?? []
  return secret
}
