/** A token bucket that holds one second's worth, full at first. */
export class TokenBucket {
  #tokens: number
  #at: number
  readonly #perSecond: number

  constructor (perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#tokens = Math.max(1, perSecond)
    this.#at = nowMs
  }

  /** Takes a token if there is one. `nowMs` comes from a monotonic clock. */
  take (nowMs: number): boolean {
    const grown = this.#tokens + (nowMs - this.#at) / 1000 * this.#perSecond
    this.#tokens = Math.min(Math.max(1, this.#perSecond), grown)
    this.#at = nowMs
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
