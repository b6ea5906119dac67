/** What a bucket counts. */
export type BucketName = 'request' | 'url' | 'cpcode' | 'tag'

/** Size of a bucket and what flows in, per second. */
export interface BucketSize { size: number, perSecond: number }

/** The account's limits as Akamai documents them. */
export const documentedBuckets: Record<BucketName, BucketSize> = {
  request: { size: 100, perSecond: 50 },
  url: { size: 10_000, perSecond: 200 },
  cpcode: { size: 300, perSecond: 0.5 },
  tag: { size: 5000, perSecond: 500 / 60 }
}

/** A token bucket that refills with a clock of the caller's. */
export class Bucket {
  readonly limit: BucketSize
  #tokens: number
  #at: number
  readonly #now: () => number
  constructor (limit: BucketSize, now: () => number) {
    this.limit = limit
    this.#tokens = limit.size
    this.#now = now
    this.#at = now()
  }

  get remaining (): number {
    const now = this.#now()
    this.#tokens = Math.min(this.limit.size, this.#tokens + Math.max(0, now - this.#at) / 1000 * this.limit.perSecond)
    this.#at = now
    return this.#tokens
  }

  /** Takes tokens, as this request or another tool of the account would. */
  drain (count: number): void {
    this.#tokens = Math.max(0, this.remaining - count)
  }
}
