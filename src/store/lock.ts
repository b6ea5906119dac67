import { DatabaseSync } from 'node:sqlite'
import { StoreRefused } from './store.ts'

/**
 * Takes a folder for this process alone. The lock is SQLite's on a file beside the folder, so that the kernel frees it
 * however the process ends. Throws StoreRefused if another one has it.
 */
export function lockFolder (dir: string): () => void {
  const db = new DatabaseSync(`${dir}.lock`)
  try {
    db.exec('pragma busy_timeout = 0; begin exclusive')
  } catch (cause) {
    db.close()
    throw new StoreRefused(`The data folder ${dir} is in use by another process. Stop that one first, or give this one a DATA_DIR of its own; several processes can share a PostgreSQL by DATABASE_URL.`, { cause })
  }
  return () => { db.close() }
}
