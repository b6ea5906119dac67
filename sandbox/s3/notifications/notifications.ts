import { randomBytes, randomUUID } from 'node:crypto'
import { Faults } from '../../kit/faults.ts'
import { HoldBack } from '../../kit/hold-back.ts'
import { seededRandom } from '../../kit/random.ts'
import { Tasks } from '../../kit/tasks.ts'
import type { Destination } from './destination.ts'
import type { ObjectEvent } from './event.ts'

/** Which changes of a bucket are told to whom. */
export interface NotificationConfiguration {
  id?: string
  /** As S3 names them, such as `s3:ObjectCreated:*`; creations and removals by default. */
  events?: string[]
  prefix?: string
  suffix?: string
  to: Destination
}

/** What the pass-through knows of a change. */
export type Change = Omit<ObjectEvent, 'sequence' | 'id' | 'requestId' | 'hostId' | 'atMs'>

/** What may befall a notification: S3 promises at least one, in no order; that it loses one, its operators must survive. */
export type NotificationMishap = 'lose' | 'double' | 'hold'

/** Tells destinations what happened to keys. */
export class Notifications {
  /** Every event that a configuration asked for, in the order of S3. */
  readonly log: ObjectEvent[] = []
  /** Rules with the action `Notify` and a `kind`: `lose`, `double` or `hold`; the path is `/bucket/key`. */
  readonly faults = new Faults()
  /** How likely each mishap is, from 0 to 1; the seed decides. */
  readonly chances: Record<NotificationMishap, number> = { lose: 0, double: 0, hold: 0 }
  readonly #configurations = new Map<string, NotificationConfiguration[]>()
  readonly #random: () => number
  readonly #holdBack: HoldBack
  readonly #now: () => number
  readonly #tasks = new Tasks()
  readonly #closing = new AbortController()
  #last = 0n

  constructor (now: () => number, seed: number) {
    this.#now = now
    this.#random = seededRandom(seed)
    this.#holdBack = new HoldBack(this.#random)
  }

  /** Replaces a bucket's configurations; none turns notifications off. Each destination gets S3's test event. */
  configure (bucket: string, ...configurations: NotificationConfiguration[]): void {
    this.#configurations.set(bucket, configurations)
    for (const { to } of configurations) {
      to.test?.({ Service: 'Amazon S3', Event: 's3:TestEvent', Time: new Date(this.#now()).toISOString(), Bucket: bucket, RequestId: requestId(), HostId: hostId() })
    }
  }

  /** Whether anybody wants to know. */
  isWatched (bucket: string): boolean {
    return (this.#configurations.get(bucket) ?? []).length > 0
  }

  /** Tells of a change that is done; returns before anybody heard of it. */
  changed (change: Change): void {
    const wanted = (this.#configurations.get(change.bucket) ?? []).filter(each => wants(each, change))
    if (wanted.length === 0) return
    const event: ObjectEvent = { ...change, atMs: this.#now(), sequence: this.#nextSequence(), id: randomUUID(), requestId: requestId(), hostId: hostId() }
    this.log.push(event)
    const fault = this.faults.take({ action: 'Notify', method: 'POST', path: `/${change.bucket}/${change.key}` })
    const befalls = (mishap: NotificationMishap) => fault?.kind === mishap || (this.chances[mishap] > 0 && this.#random() < this.chances[mishap])
    for (const { to, id = 'sandbox' } of wanted) {
      if (befalls('lose')) continue
      for (let times = befalls('double') ? 2 : 1; times > 0; times--) {
        const isHeld = befalls('hold')
        this.#tasks.run(async () => {
          if (isHeld) await this.#holdBack.hold()
          if (!this.#closing.signal.aborted) await to.send(event, id, this.#closing.signal)
          if (!isHeld) this.#holdBack.passed()
        })
      }
    }
  }

  /** Resolves when every destination has taken what was sent to it; what was held back goes now. */
  async idle (): Promise<void> {
    this.#holdBack.release()
    await this.#tasks.idle()
  }

  async close (): Promise<void> {
    this.#closing.abort()
    this.#holdBack.release()
    await this.#tasks.idle()
  }

  /** Follows the clock, and grows even where the clock does not. */
  #nextSequence (): string {
    const now = this.#now()
    const clock = BigInt(Math.floor(now / 1000)) << 32n | BigInt(Math.floor((now % 1000) / 1000 * 2 ** 32))
    this.#last = clock > this.#last ? clock : this.#last + 1n
    return this.#last.toString(16).padStart(16, '0')
  }
}

const requestId = (): string => randomBytes(8).toString('hex').toUpperCase()
const hostId = (): string => randomBytes(57).toString('base64')

function wants ({ events = ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'], prefix = '', suffix = '' }: NotificationConfiguration, { name, key }: Change): boolean {
  const isNamed = events.some(event => event === `s3:${name}` || (event.endsWith('*') && `s3:${name}`.startsWith(event.slice(0, -1))))
  return isNamed && key.startsWith(prefix) && key.endsWith(suffix)
}
