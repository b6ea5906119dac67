import { accessSync, constants, mkdtempSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const memory = '/dev/shm'
const enough = 4 * 1024 ** 3

/**
 * A new folder for a database that a test throws away, in memory where that is large: a test sees what was asked of
 * the disk, and that a process was killed, but never that the power went, so a real disk only makes it slow.
 */
export function scratch (name: string): string {
  return mkdtempSync(join(process.env['TMPDIR'] === undefined && memoryIsLarge() ? memory : tmpdir(), `edgeferry-${name}-`))
}

function memoryIsLarge (): boolean {
  try {
    accessSync(memory, constants.W_OK)
    const { bavail, bsize } = statfsSync(memory)
    return bavail * bsize >= enough
  } catch {
    return false
  }
}
