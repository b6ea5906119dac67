/** Beyond this a clock counts as wrong; Akamai allows 60 s, clients in the field saw less. */
const toleranceSeconds = 30

/** An answer's `Date` and when, by our clock in epoch milliseconds, its head came. */
export interface Moment {
  date: string | undefined
  receivedAt: number
}

/**
 * How far NetStorage's clock is ahead of ours, in whole seconds: a `Date` is half a second old on average. When the
 * request began says nothing, since an upload may take hours. `undefined` without a readable `Date`.
 */
export function measureOffset ({ date, receivedAt }: Moment): number | undefined {
  const theirs = Date.parse(date ?? '')
  return Number.isNaN(theirs) ? undefined : Math.round((theirs + 500 - receivedAt) / 1000)
}

/** Our clock as NetStorage sees it. */
export interface Clock {
  /** Seconds that are added to our clock now. */
  offset: () => number
  /** Unix seconds for a signature. */
  seconds: () => number
  /**
   * Looks at a refusal of a request that was signed with `usedOffset`: whether the clock was to blame. If so the right
   * offset is used from here on, be it 0 again.
   */
  correct: (moment: Moment, usedOffset: number) => boolean
}

/** A clock that trusts `now` (epoch milliseconds) until a refusal shows it wrong; `onOffset` hears of each change. */
export function createClock (now: () => number, onOffset: (offsetSeconds: number) => void): Clock {
  let current = 0
  return {
    offset: () => current,
    seconds: () => Math.floor(now() / 1000) + current,
    correct (moment, usedOffset) {
      const measured = measureOffset(moment)
      if (measured === undefined || Math.abs(measured - usedOffset) <= toleranceSeconds) return false
      // Of several requests refused at once, the first corrects for all.
      if (Math.abs(measured - current) > toleranceSeconds) {
        current = Math.abs(measured) <= toleranceSeconds ? 0 : measured
        onOffset(current)
      }
      return true
    }
  }
}
