import type { Rule } from '../mapping.ts'
import type { EdgeGridCredentials } from '../purge/credentials.ts'

/** One NetStorage upload account. */
export interface Target {
  /** Bare host name; an `http://` origin for emulators. */
  hostname: string
  keyName: string
  key: string
  /** Storage CP codes that requests and rules may name; the first is the default. */
  cpCodes: number[]
  /** Ceiling over all replicas; absent = that of the environment. */
  writesPerSecond?: number
}

/** The rules and all that they name: what takes effect, or is refused, as one. */
export interface RuleSet {
  rules: Rule[]
  /** NetStorage upload accounts by their name. */
  targets: Record<string, Target>
  /** EdgeGrid API clients by their name. */
  edgegrids: Record<string, EdgeGridCredentials>
  /** Buckets that events and calls may name. */
  buckets: string[]
  /** Hosts that calls may purge URLs of. */
  hosts: string[]
}
