import type { RuleSet } from './rule-set.ts'

/** The rules in force. */
export interface Rules {
  /** Ask each time: the answer changes when they are read anew. */
  current: () => RuleSet
  /** Puts another set in force, all of it at once. */
  replace: (next: RuleSet) => void
}

/** Rules that begin with a set. */
export function createRules (first: RuleSet): Rules {
  let set = first
  return {
    current: () => set,
    replace (next) { set = next }
  }
}
