import type { Bucket as SeenBucket } from './rate-limit.ts'

/** What a token bucket of an account counts. */
export type BucketName = 'request' | 'url' | 'cpcode' | 'tag'

/** The limits as Akamai documents them: what is assumed until an answer says otherwise. */
export const documentedLimits: Record<BucketName, { size: number, perSecond: number }> = {
  request: { size: 100, perSecond: 50 },
  url: { size: 10_000, perSecond: 200 },
  cpcode: { size: 300, perSecond: 0.5 },
  tag: { size: 5000, perSecond: 500 / 60 }
}

/** A look at the bucket is worth this long; after that others may have taken any number of tokens. */
const freshMs = 60_000
/** Two looks further apart than this say nothing of how fast others take tokens now. */
const comparableMs = 10_000
const halfLifeMs = 60_000
/** More than this many seconds' worth of tokens is not kept back for others. */
const longestBurstSeconds = 5
/** Tokens that rounding explains. */
const noise = 2
/** While others take tokens, so many times their largest helping is left in the account for them, up to what is not our share. */
const helpingsLeft = 4
/** But where little is left, a part of it is ours all the same; and so much is sent first after a refusal. */
const leastPart = 0.2
const leastReserve = 0.05
/** From how full an account on several requests may be under way at once: should another tool take half of it meanwhile, all of them still fit. */
const fullEnough = 0.75

/**
 * A token bucket as far as we know it, at one moment of one clock. Two things bound what may be spent: our own budget,
 * and what the account still holds, which other tools drain as well.
 */
export interface TokenBucket {
  size: number
  perSecond: number
  /** What is left of our own share. */
  own: number
  /** What the account holds: as an answer last said, plus what has flowed in, minus what we have taken since. */
  level: number
  /** How fast others take tokens, as seen between the last answers. */
  foreignPerSecond: number
  /** The most they took lately between two answers: it may be gone at any moment. */
  foreignBurst: number
  at: Date
  /** When an answer last told the level. */
  seenAt: Date | null
  /** Until when nothing may be spent, after a refusal. */
  heldUntil: Date | null
}

const share = (size: number, budget: number) => Math.max(1, size * budget)
const seconds = (from: Date, to: Date) => Math.max(0, to.getTime() - from.getTime()) / 1000

/** A bucket nobody has looked at yet. `budget` is the part of the account's limits that is ours. */
export function newBucket (name: BucketName, budget: number, now: Date): TokenBucket {
  const { size, perSecond } = documentedLimits[name]
  return { size, perSecond, own: share(size, budget), level: size, foreignPerSecond: 0, foreignBurst: 0, at: now, seenAt: null, heldUntil: null }
}

/** The bucket at a later moment. */
export function refill (bucket: TokenBucket, budget: number, now: Date): TokenBucket {
  const passed = seconds(bucket.at, now)
  return {
    ...bucket,
    own: Math.min(share(bucket.size, budget), bucket.own + passed * bucket.perSecond * budget),
    level: Math.min(bucket.size, bucket.level + passed * bucket.perSecond),
    at: passed === 0 ? bucket.at : now
  }
}

/**
 * How many tokens may be spent now. What others will have taken since the last look is theirs; and since they come when
 * they like, the account is not emptied while they do: that costs us no pace, only a part of a burst.
 */
export function spendable ({ size, own, level, foreignPerSecond, foreignBurst, at, seenAt, heldUntil }: TokenBucket, budget: number): number {
  if (heldUntil !== null && heldUntil > at) return 0
  if (needsLook({ at, seenAt, heldUntil })) return Math.min(Math.floor(own), Math.ceil(level * leastPart))
  const foreign = seenAt === null ? 0 : Math.max(foreignBurst, foreignPerSecond * seconds(seenAt, at))
  const left = Math.max(0, level - foreign)
  const reserve = Math.min(helpingsLeft * foreignBurst, Math.max(1 - budget, leastReserve) * size)
  return Math.max(0, Math.floor(Math.min(own, Math.max(left - reserve, level * leastPart)) + 1e-6))
}

/** Whether the time that a refusal asked for is over, and no answer has told since what others left: a part of what waits asks. */
export function needsLook ({ at, seenAt, heldUntil }: Pick<TokenBucket, 'at' | 'seenAt' | 'heldUntil'>): boolean {
  return heldUntil !== null && heldUntil <= at && (seenAt === null || seenAt < heldUntil)
}

/** Whether several requests may be under way at once: an answer told the level lately, and it is high. */
export function isPlenty ({ size, level, at, seenAt }: TokenBucket): boolean {
  return seenAt !== null && at.getTime() - seenAt.getTime() < freshMs && level > size * fullEnough
}

/** Takes tokens, before a request leaves. */
export function spend (bucket: TokenBucket, count: number): TokenBucket {
  return { ...bucket, own: bucket.own - count, level: bucket.level - count }
}

/** Puts back what a refused request did not consume. */
export function giveBack (bucket: TokenBucket, count: number, budget: number): TokenBucket {
  return { ...bucket, own: Math.min(share(bucket.size, budget), bucket.own + count), level: Math.min(bucket.size, bucket.level + count) }
}

/** What is known of the answer beside its words. */
export interface Circumstances {
  /** The part of the account's limits that is ours (all of it). */
  budget?: number
  /** Tokens of requests that are on their way: they may or may not be in what the answer says. */
  pending?: number
  refusal?: boolean
  /** How long ago the request left. At some moment since then the answer was true. */
  underwayMs?: number
}

/**
 * Believes an answer over our own count: the lower one while requests are on their way, when nothing is learned of
 * others either.
 */
export function observe (bucket: TokenBucket, seen: Partial<Pick<SeenBucket, 'limit' | 'perSecond' | 'remaining'>>, { budget = 1, pending = 0, refusal = false, underwayMs = 0 }: Circumstances = {}): TokenBucket {
  const size = seen.limit ?? bucket.size
  // An account of another size than was assumed: what we spent of it stays spent.
  const own = bucket.own + share(size, budget) - share(bucket.size, budget)
  const known = { ...bucket, size, perSecond: seen.perSecond ?? bucket.perSecond, own, level: Math.min(bucket.level, size) }
  if (seen.remaining === undefined) return known
  if (pending > 0) return { ...known, level: Math.min(known.level, seen.remaining - pending), seenAt: bucket.at }
  const missing = known.level - seen.remaining - underwayMs / 1000 * known.perSecond
  return { ...known, ...learn(known, missing, refusal), level: seen.remaining, seenAt: bucket.at }
}

/** What others take, from the tokens that are missing since the last answer. What is not seen again is forgotten. */
function learn ({ at, seenAt, heldUntil, perSecond, foreignPerSecond, foreignBurst }: TokenBucket, missing: number, refusal: boolean): Pick<TokenBucket, 'foreignPerSecond' | 'foreignBurst'> {
  const passedMs = seenAt === null ? Infinity : at.getTime() - seenAt.getTime()
  const kept = 0.5 ** (passedMs / halfLifeMs)
  const pace = missing / Math.max(passedMs / 1000, 0.05)
  // One sudden drain shows no pace, since nobody takes more than flows in for long; a second one soon after it does.
  const isSudden = refusal && pace > perSecond && (heldUntil === null || at.getTime() - heldUntil.getTime() > freshMs)
  const isPace = missing > noise && passedMs <= comparableMs && !isSudden
  return {
    foreignPerSecond: Math.max(isPace ? Math.min(pace, perSecond * 0.9) : 0, foreignPerSecond * kept),
    foreignBurst: Math.max(isPace ? Math.min(missing, perSecond * longestBurstSeconds) : 0, foreignBurst * kept)
  }
}

/** After a refusal: exactly until the tokens that were missing have flowed in, as fast as others leave them to us. */
export function hold (bucket: TokenBucket, missing: number): TokenBucket {
  const waitMs = missing / (bucket.perSecond - bucket.foreignPerSecond) * 1000
  return { ...bucket, heldUntil: new Date(bucket.at.getTime() + Math.ceil(waitMs)) }
}
