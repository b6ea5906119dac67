import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeCluster } from '../src/store/cluster.ts'

const cache = fileURLToPath(new URL('../node_modules/.cache/edgeferry', import.meta.url))

/** An empty cluster as the installed PGlite makes it: seconds of work, so it is made once and kept. */
async function template (): Promise<string> {
  const { version } = JSON.parse(readFileSync(new URL('../node_modules/@electric-sql/pglite/package.json', import.meta.url), 'utf8')) as { version: string }
  const dir = join(cache, `cluster-${version}`)
  if (existsSync(dir)) return dir
  mkdirSync(cache, { recursive: true })
  const mine = mkdtempSync(join(cache, 'making-'))
  await makeCluster(join(mine, 'cluster'))
  try {
    renameSync(join(mine, 'cluster'), dir)
  } catch (error) {
    // Another test file was quicker.
    if (!existsSync(dir)) throw error
  }
  rmSync(mine, { recursive: true })
  return dir
}

/** A `DATA_DIR` that holds a new cluster, gone when the test is over. Ask for it before what uses it. */
export async function makeDataDir (t: { teardown: (fn: () => void) => unknown }): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'edgeferry-data-'))
  t.teardown(() => { rmSync(dir, { recursive: true, force: true }) })
  cpSync(await template(), join(dir, 'database'), { recursive: true })
  return dir
}
