import { closeSync, fsyncSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { NodeFS } from '@electric-sql/pglite/nodefs'

interface EmscriptenStream { nfd?: number | null, node: unknown }
interface EmscriptenModule { onAbort?: (what: unknown) => void, NODEFS: { stream_ops: { fsync?: (stream: EmscriptenStream) => number }, realPath: (node: unknown) => string } }

/** POSIX EIO as Emscripten numbers it: PostgreSQL panics on it, as it must when the disk does not keep its word. */
const eio = 29

/**
 * PGlite's file system, with an fsync that reaches the disk. Stock PGlite's does nothing, so a power cut loses all
 * it acknowledged. `NODEFS.stream_ops` is no documented interface: the version is pinned, and the start asserts that
 * a commit is counted here.
 */
export class DurableFs extends NodeFS {
  readonly #onFsync: () => void
  readonly #onPanic: () => void
  /** `onPanic`: PostgreSQL has given up. Without it, whoever asked waits for ever: PGlite itself tells nobody. */
  constructor (dir: string, onFsync: () => void, onPanic: () => void) {
    super(dir)
    this.#onFsync = onFsync
    this.#onPanic = onPanic
  }

  override async init (...args: Parameters<NodeFS['init']>): ReturnType<NodeFS['init']> {
    const result = await super.init(...args)
    const hooks = result.emscriptenOpts.preRun as unknown as Array<(module: EmscriptenModule) => void>
    hooks.push(module => {
      module.onAbort = () => { this.#onPanic() }
      const { NODEFS } = module
      NODEFS.stream_ops.fsync = stream => {
        try {
          if (typeof stream.nfd === 'number') fsyncSync(stream.nfd)
          else fsyncPath(NODEFS.realPath(stream.node))
          this.#onFsync()
          return 0
        } catch {
          return eio
        }
      }
    })
    return result
  }
}

/** Makes the disk keep a file, or the entries of a folder. */
export function fsyncPath (path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Makes the disk keep a whole tree. */
export function fsyncTree (dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) fsyncTree(path)
    else if (entry.isFile()) fsyncPath(path)
  }
  fsyncPath(dir)
}
