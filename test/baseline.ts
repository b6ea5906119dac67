import { setFlagsFromString } from 'node:v8'

/**
 * V8 optimises PGlite's parser of SQL right after each start: a second of work and 600 MB of memory, which only a
 * process that runs many thousand statements earns back. These leave it at the code that it makes first.
 */
export const baselineFlags = ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering']

/** Sets them for the databases that this process starts from now on. */
export function stayAtBaseline (): void {
  for (const flag of baselineFlags) setFlagsFromString(flag)
}
