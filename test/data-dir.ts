import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { embedded as Embedded } from '../src/store/embedded.ts'
import { stayAtBaseline } from './baseline.ts'
import { scratch } from './scratch.ts'

const root = new URL('../', import.meta.url)
const cache = fileURLToPath(new URL('node_modules/.cache/edgeferry', root))

/** Changes with all that a new database is made of: our tables, pg-boss's, PGlite's cluster. */
function fingerprint (): string {
  const hash = createHash('sha256')
  const store = new URL('src/store/', root)
  for (const name of readdirSync(store).sort()) hash.update(name).update(readFileSync(new URL(name, store)))
  for (const name of ['@electric-sql/pglite', 'pg-boss', 'kysely']) hash.update(readFileSync(new URL(`node_modules/${name}/package.json`, root)))
  return hash.digest('hex').slice(0, 16)
}

/**
 * A database as its first start leaves it, with all tables and no row: seconds of work, so it is made once and kept.
 * Test files that want it meanwhile wait: to make it in each would keep all of them from it longer.
 */
async function template (): Promise<string> {
  const dir = join(cache, `database-${fingerprint()}`)
  if (existsSync(dir)) return dir
  mkdirSync(cache, { recursive: true })
  // Whom a copy serves need not load what makes it.
  const [{ embedded }, { lockFolder }] = await Promise.all([import('../src/store/embedded.ts'), import('../src/store/lock.ts')])
  for (;;) {
    try {
      const unlock = lockFolder(dir)
      if (!existsSync(dir)) await make(dir, embedded)
      unlock()
      return dir
    } catch (error) {
      if (!/in use by another process/.test((error as Error).message)) throw error
      await new Promise(resolve => { setTimeout(resolve, 50) })
    }
  }
}

async function make (dir: string, embedded: typeof Embedded): Promise<void> {
  // What was made of other versions, or only half, serves nobody any more.
  for (const name of readdirSync(cache)) if (join(cache, name) !== `${dir}.lock`) rmSync(join(cache, name), { recursive: true, force: true })
  const aside = mkdtempSync(`${dir}.making-`)
  const store = await embedded({ dir: aside, log: { info () {}, warn () {}, error () {} } })
  await store.close()
  renameSync(join(aside, 'database'), dir)
  rmSync(aside, { recursive: true })
}

/**
 * A `DATA_DIR` that holds a new database, gone when the test is over. Ask for it before what uses it. A start from
 * nothing is for the store's own tests. `busy`: so many statements follow that it pays to optimise.
 */
export async function makeDataDir (t: { teardown: (fn: () => void) => unknown }, { busy = false } = {}): Promise<string> {
  if (!busy) stayAtBaseline()
  const from = await template()
  const dir = scratch('data')
  t.teardown(() => { rmSync(dir, { recursive: true, force: true }) })
  cpSync(from, join(dir, 'database'), { recursive: true })
  return dir
}
