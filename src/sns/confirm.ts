import { setTimeout as sleep } from 'node:timers/promises'
import { readText } from './read-text.ts'
import { endpointOf } from './topic.ts'
import type { SubscriptionConfirmation } from './verify.ts'

export interface ConfirmOptions {
  /** An emulator's origin, without a trailing slash. */
  origin?: string
  fetch?: typeof fetch
  /** The pauses between attempts; their number is that of the retries (1 s, 5 s, 20 s). */
  delaysMs?: readonly number[]
  /** Until a whole answer is here (10000). */
  timeoutMs?: number
  /** Called when an attempt ends, for the log; neither word nor URL of it holds the token. */
  onAttempt?: (attempt: ConfirmAttempt) => void
  /** Ends the attempts, when the service stops. */
  signal?: AbortSignal
}

/** How one attempt to confirm ended. */
export interface ConfirmAttempt {
  topicArn: string
  /** Counted from 1. */
  attempt: number
  confirmed: boolean
  /** 0 where no answer came. */
  status: number
  /** Why no answer came, in the words of the network. */
  detail?: string
  subscriptionArn?: string
  /** Whether there will be another. */
  again: boolean
}

const maxBytes = 64 * 1024

/** Where a subscription is confirmed: made of what was verified, never taken from the message. Holds the token. */
export function confirmUrl ({ topic, token }: SubscriptionConfirmation, origin: string = endpointOf(topic)): string {
  return `${origin}/?Action=ConfirmSubscription&TopicArn=${encodeURIComponent(topic.arn)}&Token=${encodeURIComponent(token)}`
}

/**
 * Confirms a subscription, several times if need be, and says whether it stands. It takes a verified
 * SubscriptionConfirmation only: the same act upon an UnsubscribeConfirmation would subscribe again. Never throws, since
 * SNS had its answer long ago; confirming twice does no harm.
 */
export async function confirmSubscription (message: SubscriptionConfirmation, options: ConfirmOptions = {}): Promise<boolean> {
  const { delaysMs = [1000, 5000, 20_000], onAttempt, signal } = options
  const stopped = () => signal?.aborted ?? false
  for (let attempt = 1; ; attempt++) {
    const { final, ...result } = await ask(confirmUrl(message, options.origin), options)
    const delayMs = delaysMs[attempt - 1]
    const again = !final && delayMs !== undefined && !stopped()
    onAttempt?.({ topicArn: message.topic.arn, attempt, ...result, again })
    if (!again) return result.confirmed
    await sleep(delayMs, undefined, { signal }).catch(() => {})
    if (stopped()) return false
  }
}

/** One request. A 4xx is final, but for those that only ask for patience: the token is spent, wrong or too old. */
async function ask (url: string, { fetch: send = fetch, timeoutMs = 10_000, signal }: ConfirmOptions) {
  try {
    const deadline = AbortSignal.timeout(timeoutMs)
    const response = await send(url, { redirect: 'error', signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]) })
    const { status } = response
    const text = await readText(response, maxBytes)
    const subscriptionArn = /<SubscriptionArn>(arn:[A-Za-z0-9:_-]{1,400})<\/SubscriptionArn>/.exec(text)?.[1]
    return {
      confirmed: status === 200,
      status,
      final: status === 200 || (status >= 400 && status < 500 && status !== 408 && status !== 429),
      ...(subscriptionArn === undefined ? {} : { subscriptionArn })
    }
  } catch (error) {
    const { name, message, cause } = error as Error & { cause?: Error & { code?: string } }
    return { confirmed: false, status: 0, final: false, detail: cause?.code ?? (name === 'TypeError' ? 'the connection failed' : message) }
  }
}
