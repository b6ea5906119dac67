import type { Store } from '../store/store.ts'
import { createBudget, type Budget } from './budget.ts'
import { turnsInDatabase, turnsInMemory } from './turns.ts'

/** The two budgets of a storage group; undefined = no ceiling. */
export interface HostBudgets { write: Budget | undefined, read: Budget | undefined }

/** A storage group as far as its budgets go. */
export interface Group { hostname: string, /** In place of the general ceiling. */ writesPerSecond?: number }

/** The budgets of all storage groups. Accounts of one host share its group, and so its budgets: the lowest ceiling counts. */
export interface Budgets {
  of: (hostname: string) => HostBudgets | undefined
  /** Takes over which groups there are, and their ceilings. */
  adopt: (groups: Group[]) => void
}

export interface BudgetsOptions {
  store: Store
  ceilings: { writesPerSecond: number, readsPerSecond: number }
  onCeiling: (ceiling: { host: string, kind: 'read' | 'write', perSecond: number }) => void
  onTurn: (turn: { host: string, kind: 'read' | 'write', perSecond: number, waitedMs: number }) => void
}

/** Above this there is no ceiling: no storage group takes more. */
const unlimited = 10_000

export function createBudgets ({ store, ceilings, onCeiling, onTurn }: BudgetsOptions): Budgets {
  const known = new Map<string, { writes: number, budgets: HostBudgets }>()
  const nameOf = (hostname: string): string => hostname.replace(/^https?:\/\//, '').toLowerCase()

  function create (host: string, kind: 'read' | 'write', perSecond: number): Budget | undefined {
    if (perSecond > unlimited) return undefined
    onCeiling({ host, kind, perSecond })
    const takeTurns = store.orphansAtStart ? turnsInMemory(perSecond, () => performance.now()) : turnsInDatabase(store, `${host} ${kind}`, perSecond)
    return createBudget({ takeTurns, onTurn: turn => { onTurn({ host, kind, ...turn }) } })
  }

  return {
    of: hostname => known.get(nameOf(hostname))?.budgets,
    adopt (groups) {
      for (const [host, mine] of Map.groupBy(groups, group => nameOf(group.hostname))) {
        const writes = Math.min(...mine.map(group => group.writesPerSecond ?? ceilings.writesPerSecond))
        const before = known.get(host)
        if (before?.writes === writes) continue
        known.set(host, { writes, budgets: { write: create(host, 'write', writes), read: before?.budgets.read ?? create(host, 'read', ceilings.readsPerSecond) } })
      }
    }
  }
}
