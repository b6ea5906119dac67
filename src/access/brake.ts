/** Slows those who guess: a bucket of failures for each address, from which successes take nothing. */
export interface Brake {
  /** Counts a failure. Returns 0 while the address has failures to spare, else the seconds until it has one again. */
  fail: (address: string) => number
}

export interface BrakeOptions {
  /** Failures that are answered at once. */
  burst: number
  /** Seconds that give one back. */
  secondsEach: number
  /** Addresses that are remembered; beyond that the one that failed longest ago is forgotten. */
  maxAddresses: number
  /** A clock in milliseconds that never runs backwards. */
  nowMs?: () => number
}

/** A brake with bounded memory, whatever the number of addresses. */
export function createBrake ({ burst, secondsEach, maxAddresses, nowMs = () => performance.now() }: BrakeOptions): Brake {
  // Insertion order is that of the last failure: whoever fails is put at the end.
  const failures = new Map<string, { count: number, at: number }>()
  return {
    fail (address) {
      const who = blockOf(address)
      const at = nowMs()
      const before = failures.get(who)
      const left = before === undefined ? 0 : Math.max(0, before.count - (at - before.at) / 1000 / secondsEach)
      const spare = left + 1 <= burst
      failures.delete(who)
      failures.set(who, { count: spare ? left + 1 : left, at })
      if (failures.size > maxAddresses) failures.delete(failures.keys().next().value as string)
      return spare ? 0 : Math.ceil((left + 1 - burst) * secondsEach)
    }
  }
}

/** One subscriber holds a whole /64 of IPv6, so that is what is counted; an IPv4 address may come wrapped in one. */
function blockOf (address: string): string {
  const wrapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (wrapped !== undefined || !address.includes(':')) return wrapped ?? address
  const [head = '', tail] = address.toLowerCase().replace(/%.*$/, '').split('::')
  const groups = head.split(':').filter(group => group !== '')
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(':').filter(group => group !== '').length
  const full = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':').filter(group => group !== '')]
  return full.slice(0, 4).map(group => group.replace(/^0+(?=.)/, '')).join(':')
}
