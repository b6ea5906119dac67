import { sql } from 'kysely'
import type { Store, Tx } from '../store/store.ts'

const firstProbeMs = 5_000

/** What is paused, from the database, so that every replica keeps still: `s3:<bucket>`, `netstorage:<target>`, `edgegrid:<name>`. */
export interface Pauses {
  /** As of the last look, at most a second old. */
  reasons: () => ReadonlyMap<string, string>
  pause: (tx: Tx, name: string, reason: string) => Promise<void>
  resume: (name: string) => Promise<void>
  /** Names of these kinds (what stands before the colon) whose next probe is due; each is handed to one caller only. */
  takeProbes: (kinds: string[]) => Promise<string[]>
  /** Whether the next probe of this name is due; then it is the caller's. */
  takeProbe: (tx: Tx, name: string) => Promise<boolean>
  refresh: () => Promise<void>
}

/** Pauses over one store. `onChange` hears of each pause and resumption that this process brings about. */
export function createPauses (store: Store, now: () => Date, onChange: (name: string, reason: string | undefined) => void): Pauses {
  let known = new Map<string, string>()
  return {
    reasons: () => known,
    async pause (tx, name, reason) {
      await tx.kysely.insertInto('pauses')
        .values({ name, reason, since: now(), next_probe_at: new Date(now().getTime() + firstProbeMs) })
        .onConflict(conflict => conflict.column('name').doUpdateSet({ reason })).execute()
      if (!known.has(name)) onChange(name, reason)
      known = new Map([...known, [name, reason]])
    },
    async resume (name) {
      await store.kysely.deleteFrom('pauses').where('name', '=', name).execute()
      known.delete(name)
      onChange(name, undefined)
    },
    async takeProbes (kinds) {
      if (known.size === 0) return []
      const rows = await store.kysely.updateTable('pauses')
        .set({ next_probe_at: new Date(now().getTime() + firstProbeMs) })
        .where('next_probe_at', '<=', now()).where(sql<boolean>`split_part(name, ':', 1) = any(${kinds}::text[])`).returning('name').execute()
      return rows.map(row => row.name)
    },
    async takeProbe (tx, name) {
      const rows = await tx.kysely.updateTable('pauses')
        .set({ next_probe_at: new Date(now().getTime() + firstProbeMs) })
        .where('next_probe_at', '<=', now()).where('name', '=', name).returning('name').execute()
      return rows.length > 0
    },
    async refresh () {
      const rows = await store.kysely.selectFrom('pauses').select(['name', 'reason']).execute()
      known = new Map(rows.map(row => [row.name, row.reason]))
    }
  }
}
