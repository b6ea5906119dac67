interface Held { left: number, go: () => void, timer: NodeJS.Timeout }

/** Keeps some things waiting until a few later ones have overtaken them: how an emulator delivers out of order. */
export class HoldBack {
  readonly #held = new Set<Held>()
  readonly #random: () => number
  readonly #most: number
  readonly #longestMs: number

  /** A held thing lets 1 to `most` others pass, but never waits longer than `longestMs`, for there may be no others. */
  constructor (random: () => number, { most = 5, longestMs = 2000 } = {}) {
    this.#random = random
    this.#most = most
    this.#longestMs = longestMs
  }

  /** Resolves when the caller's turn has come. */
  async hold (): Promise<void> {
    await new Promise<void>(resolve => {
      const held: Held = {
        left: 1 + Math.floor(this.#random() * this.#most),
        go: () => {
          clearTimeout(held.timer)
          this.#held.delete(held)
          resolve()
        },
        timer: setTimeout(() => { held.go() }, this.#longestMs)
      }
      this.#held.add(held)
    })
  }

  /** Tells that something has passed. */
  passed (): void {
    for (const held of this.#held) if (--held.left <= 0) held.go()
  }

  /** Lets everything go. */
  release (): void {
    for (const held of this.#held) held.go()
  }
}
