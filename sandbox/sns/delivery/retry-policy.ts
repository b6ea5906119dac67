/** A delivery policy in AWS's words; times in seconds. */
export interface RetryPolicy {
  minDelayTarget: number
  maxDelayTarget: number
  numRetries: number
  numNoDelayRetries: number
  numMinDelayRetries: number
  numMaxDelayRetries: number
  backoffFunction: 'linear' | 'arithmetic' | 'geometric' | 'exponential'
}

/** What holds where nobody set a policy: three retries, 20 seconds apart. */
export const defaultPolicy: RetryPolicy = {
  minDelayTarget: 20, maxDelayTarget: 20, numRetries: 3, numNoDelayRetries: 0, numMinDelayRetries: 0, numMaxDelayRetries: 0, backoffFunction: 'linear'
}

const longestSeconds = 3600

// AWS shows these curves only as a picture. All rise from the least to the greatest delay; the later the name, the flatter the start.
const curves: Record<RetryPolicy['backoffFunction'], (x: number, min: number, max: number) => number> = {
  linear: (x, min, max) => min + (max - min) * x,
  arithmetic: (x, min, max) => min + (max - min) * x * (x + 1) / 2,
  geometric: (x, min, max) => min * (max / min) ** x,
  exponential: (x, min, max) => min + (max - min) * (2 ** (10 * x) - 1) / (2 ** 10 - 1)
}

/**
 * The waits before each retry, in seconds: immediate ones, pre-backoff, backoff, post-backoff. What lies beyond AWS's
 * limit of an hour in all is not tried.
 * @throws RangeError for a policy that AWS would not take
 */
export function retryDelays (given: Partial<RetryPolicy> = {}): number[] {
  const policy = { ...defaultPolicy, ...given }
  const { minDelayTarget: min, maxDelayTarget: max, numRetries, numNoDelayRetries, numMinDelayRetries, numMaxDelayRetries } = policy
  const backoff = numRetries - numNoDelayRetries - numMinDelayRetries - numMaxDelayRetries
  if (numRetries < 0 || numRetries > 100) throw new RangeError('InvalidParameter: numRetries must be between 0 and 100')
  if (min < 1 || min > max || max > longestSeconds) throw new RangeError('InvalidParameter: 1 <= minDelayTarget <= maxDelayTarget <= 3600 must hold')
  if (backoff < 0) throw new RangeError('InvalidParameter: numRetries must be no less than the sum of the other retries')
  const curve = curves[policy.backoffFunction]
  const delays = [
    ...Array.from({ length: numNoDelayRetries }, () => 0),
    ...Array.from({ length: numMinDelayRetries }, () => min),
    ...Array.from({ length: backoff }, (_, index) => curve((index + 1) / backoff, min, max)),
    ...Array.from({ length: numMaxDelayRetries }, () => max)
  ]
  let total = 0
  return delays.filter(delay => (total += delay) <= longestSeconds)
}
