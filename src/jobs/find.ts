import { coalesce } from '../store/coalesce.ts'
import type { Store } from '../store/store.ts'
import type { JobRow } from '../store/tables.ts'

/** Finds a job by its id. All who ask while a look is under way share the next one, and those of the same job its row. */
export function createFind (store: Store): (id: string) => Promise<JobRow | undefined> {
  const look = coalesce<string, () => JobRow | undefined>(async ids => {
    try {
      const rows = await store.goAhead(async () => await store.kysely.selectFrom('jobs').selectAll().where('id', 'in', [...new Set(ids)]).execute())
      const byId = new Map(rows.map(row => [row.id, row]))
      return ids.map(id => () => byId.get(id))
    } catch (error) {
      // One look for all: were each to try again by itself, a database that is away would keep them waiting in a row.
      return ids.map(() => () => { throw error })
    }
  })
  return async id => (await look(id.toLowerCase()))()
}
