import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { fsyncPath, fsyncTree } from './durable-fs.ts'

/**
 * Makes the empty cluster of an embedded database. It is made aside, brought to disk whole and renamed: a power cut
 * leaves all of it or nothing.
 */
export async function makeCluster (dir: string): Promise<void> {
  const aside = `${dir}.init`
  rmSync(aside, { recursive: true, force: true })
  mkdirSync(dirname(dir), { recursive: true })
  const fresh = await PGlite.create({ dataDir: aside })
  await fresh.close()
  fsyncTree(aside)
  renameSync(aside, dir)
  fsyncPath(dirname(dir))
}
