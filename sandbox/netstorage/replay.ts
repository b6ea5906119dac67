/**
 * Remembers signed requests for as long as their timestamps are good. No text says that Akamai refuses a repeated
 * unique id, so the check is a switch.
 */
export class ReplayGuard {
  #seen = new Map<string, number>()

  /** Whether this account, time and id were here before; remembers them if not. */
  isReplay (once: string, nowSeconds: number, windowSeconds: number): boolean {
    for (const [known, until] of this.#seen) {
      // insertion order is time order, near enough
      if (until >= nowSeconds) break
      this.#seen.delete(known)
    }
    if (this.#seen.has(once)) return true
    this.#seen.set(once, nowSeconds + 2 * windowSeconds)
    return false
  }
}
