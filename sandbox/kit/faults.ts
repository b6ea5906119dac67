/** The requests a fault is meant for. What is left out matches everything. */
export interface FaultMatch {
  /** the protocol's own word for the request, such as `upload` or `PutObject` */
  action?: string
  /** the decoded path: equal to a string, or found by an expression */
  path?: string | RegExp
  method?: string
}

/** One fault and when it happens. Members may be combined as far as an emulator can do them together. */
export interface FaultRule {
  match?: FaultMatch
  /** how many requests it strikes before it is spent; unlimited by default */
  times?: number
  /** how many matching requests it lets pass first; 0 by default */
  after?: number
  /** waited before anything else happens */
  latencyMs?: number
  /** waited for before anything else happens: lets a test hold a request and let it go */
  until?: Promise<unknown>
  /** answered in place of the emulator's own status; the request then has no effect */
  status?: number
  /** the body and headers that go with `status` */
  body?: string
  headers?: Record<string, string>
  /** cut the connection: before the request has any effect, or in the middle of a body */
  reset?: 'before' | 'mid-body'
  /** how many bytes of the body pass before a `mid-body` reset or hang; 0 by default */
  afterBytes?: number
  /** never answer: before any effect, in the middle of a body, or when the effect is already there */
  hang?: 'before' | 'mid-body' | 'after-commit'
  /** pass bodies at this pace */
  slow?: { bytesPerSecond: number }
  /** a fault only one emulator knows, such as `stale-stat` */
  kind?: string
}

/** What an emulator knows of a request when it asks for a fault. */
export interface FaultRequest {
  action?: string
  path: string
  method: string
}

interface Entry {
  rule: FaultRule
  passed: number
  struck: number
}

/**
 * The fault switches of one emulator: an ordered list of rules. It knows no sockets; the emulator asks for the rule
 * of a request and does what it says.
 */
export class Faults {
  #entries: Entry[] = []

  /** Adds a rule behind the others. The function it returns takes the rule away again, and may be called twice. */
  add (rule: FaultRule): () => void {
    const entry: Entry = { rule, passed: 0, struck: 0 }
    this.#entries.push(entry)
    return () => { this.#entries = this.#entries.filter((other) => other !== entry) }
  }

  /** Takes every rule away. */
  clear (): void {
    this.#entries = []
  }

  /** The rules that can still strike, in order. */
  get rules (): FaultRule[] {
    return this.#entries.filter((entry) => !spent(entry)).map((entry) => entry.rule)
  }

  /**
   * The first rule that strikes this request, counted; undefined when none does. A rule still in its `after` counts
   * the request and leaves it to the rules behind it.
   */
  take (request: FaultRequest): FaultRule | undefined {
    for (const entry of this.#entries) {
      if (spent(entry) || !meets(entry.rule.match ?? {}, request)) continue
      if (entry.passed < (entry.rule.after ?? 0)) {
        entry.passed++
        continue
      }
      entry.struck++
      return entry.rule
    }
    return undefined
  }
}

function spent (entry: Entry): boolean {
  return entry.struck >= (entry.rule.times ?? Infinity)
}

function meets (match: FaultMatch, request: FaultRequest): boolean {
  if (match.action !== undefined && match.action !== request.action) return false
  if (match.method !== undefined && match.method !== request.method) return false
  if (match.path === undefined) return true
  // search() and not test(): an expression with the g flag would remember where it stopped
  return typeof match.path === 'string' ? match.path === request.path : request.path.search(match.path) >= 0
}
