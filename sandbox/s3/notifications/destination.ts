import { setTimeout as sleep } from 'node:timers/promises'
import { native, type ObjectEvent, type Shape } from './event.ts'

/** Where notifications go. */
export interface Destination {
  send: (event: ObjectEvent, configurationId: string, signal: AbortSignal) => Promise<void> | void
  /** Called when the configuration is saved, with what S3 sends then. */
  test?: (testEvent: object) => void
}

/** Publishes to a topic; the function is the `publish` of an SNS emulator, bound to an ARN. */
export function toTopic (publish: (message: string, options: { subject?: string }) => unknown, shape: Shape = native): Destination {
  // What EventBridge forwards has no subject, and nothing tests it.
  const options = shape === native ? { subject: 'Amazon S3 Notification' } : {}
  return {
    send (event, configurationId) { publish(JSON.stringify(shape(event, configurationId)), options) },
    ...(shape === native ? { test (testEvent: object) { publish(JSON.stringify(testEvent), options) } } : {})
  }
}

/** Posts JSON to a URL, as MinIO and Ceph do, until it is answered with a 2xx. */
export function toWebhook (url: string, shape: Shape, { headers = {}, retryMs = 3000 }: { headers?: Record<string, string>, retryMs?: number } = {}): Destination {
  return {
    async send (event, configurationId, signal) {
      const body = JSON.stringify(shape(event, configurationId))
      while (!signal.aborted) {
        const isTaken = await fetch(url, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers }, signal }).then(answer => answer.ok, () => false)
        if (isTaken) return
        await sleep(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }
}
