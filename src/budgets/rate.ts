/** How many requests a second are sent to one storage group, and what led there. Times in epoch milliseconds. */
export interface Rate {
  perSecond: number
  /** A rate at which requests were refused; null while no limit below the ceiling is known. */
  refused: number | null
  /** The rate that held until a higher one was tried. */
  good: number | null
  cutAt: number
  /** From when on a higher rate may be tried. */
  probeAt: number
  usedAt: number
}

/** What became of requests since the last look: answered, told that they are too many (429), broken (5xx). */
export interface Report { fine: number, busy: number, broken: number }

/**
 * What stays below a ceiling: a permit may be used a little late, and the wire adds its own delay. So little later may
 * the requests of one second arrive with those of the next, and no window of a second holds more than the ceiling.
 */
const margin = 0.95
/** Where a start begins, and whoever rested for a minute. */
const startShare = 0.4
const restMs = 60_000
/**
 * What was under way when the rate was cut says nothing of the new one, nor does what the second before it still fills: a
 * replica tells of its turns when they are used up, and may have taken most of a second's.
 */
const echoMs = 1_700
/** How long a rate is held that is known to be near the limit. */
const holdMs = 20_000
/** When a try has just shown that it is, it is held longer: for so many requests, within bounds, of which few were refused. */
const holdAfterTry = { requests: 400, leastMs: 40_000, mostMs: 120_000 }

/** The highest rate that keeps a ceiling in any window of one second. */
export const topOf = (ceiling: number): number => ceiling * margin

/** The rate of a storage group that nothing is known of. */
export function beginRate (ceiling: number, now: number): Rate {
  return { perSecond: topOf(ceiling) * startShare, refused: null, good: null, cutAt: -Infinity, probeAt: now, usedAt: now }
}

/**
 * The rate after a report. It grows with what is used of it. Refused, it falls by a fifth, or back to where it held; then
 * it stays just below what was refused, and tries more now and then: a limit that was lowered costs few refusals, and
 * one that was raised is found.
 */
export function adapt (rate: Rate, { fine, busy, broken }: Report, ceiling: number, now: number): Rate {
  const top = topOf(ceiling)
  const within = (perSecond: number): number => Math.min(top, Math.max(perSecond, Math.min(1, top)))
  const perSecond = within(now - rate.usedAt > restMs ? Math.min(rate.perSecond, top * startShare) : rate.perSecond)
  const next = { ...rate, perSecond, usedAt: now }
  if (busy + broken > 0) {
    if (now - rate.cutAt < echoMs) return next
    if (busy === 0) return { ...next, perSecond: within(perSecond * 0.9), cutAt: now }
    const wasTry = rate.good !== null && perSecond > rate.good
    const back = within(wasTry ? rate.good as number : perSecond * 0.8)
    // A server that lets bursts pass refuses late, when the rate has long been above its limit.
    const refused = wasTry ? Math.min(perSecond, back * 1.05) : perSecond
    const hold = wasTry ? Math.min(holdAfterTry.mostMs, Math.max(holdAfterTry.leastMs, holdAfterTry.requests / back * 1000)) : holdMs
    return { ...next, perSecond: back, refused, good: wasTry ? rate.good : null, cutAt: now, probeAt: now + hold }
  }
  const grown = (share: number, cap = top): number => within(Math.max(perSecond, Math.min(cap, perSecond * Math.exp(share * fine / perSecond))))
  if (rate.refused === null) return { ...next, perSecond: grown(0.1) }
  if (now < rate.probeAt) return { ...next, perSecond: grown(0.05, rate.refused * 0.93) }
  const tried = grown(0.02)
  return tried > rate.refused * 1.15 ? { ...next, perSecond: tried, refused: null, good: null } : { ...next, perSecond: tried, good: rate.good ?? perSecond }
}
