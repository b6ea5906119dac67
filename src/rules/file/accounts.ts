import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEdgerc, type EdgeGridCredentials } from '../../purge/credentials.ts'
import type { Target } from '../rule-set.ts'
import type { RulesFile } from './schema.ts'
import { nameOf, type Finding } from './words.ts'
import type { Path } from './document.ts'

/** The accounts of a rules file, with the secrets that it only names. */
export interface Accounts {
  targets: Record<string, Target>
  edgegrids: Record<string, EdgeGridCredentials>
  faults: Finding[]
}

/** Reads the key files and `.edgerc` files that a rules file names; relative paths begin at `dir`. No fault shows what is in them. */
export function readAccounts ({ targets, edgegrids }: Pick<RulesFile, 'targets' | 'edgegrids'>, dir: string, production: boolean): Accounts {
  const faults: Finding[] = []
  const read = (file: string, path: Path): string | undefined => {
    try {
      return readFileSync(resolve(dir, file), 'utf8')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      faults.push({ path, message: `${nameOf(path)} ${resolve(dir, file)} cannot be read (${code}): ${reasons[code ?? ''] ?? 'check the path'}` })
      return undefined
    }
  }
  const made: Accounts = { targets: {}, edgegrids: {}, faults }
  for (const [name, { keyFile, ...target }] of Object.entries(targets)) {
    const path = ['targets', name, 'keyFile']
    const key = read(keyFile, path)?.replace(/\r?\n$/, '')
    if (key === undefined) continue
    if (key === '' || /[\r\n]/.test(key)) faults.push({ path, message: `${nameOf(path)} ${resolve(dir, keyFile)} must hold the key in one line and nothing else` })
    made.targets[name] = { ...target, key }
  }
  for (const [name, { edgerc, section, accountSwitchKey }] of Object.entries(edgegrids)) {
    const path = ['edgegrids', name, 'edgerc']
    const text = read(edgerc, path)
    if (text === undefined) continue
    try {
      const found = parseEdgerc(text, section)
      if (production && found.host.startsWith('http://')) faults.push({ path, message: `${nameOf(path)} names a host that begins with http://, which is for emulators only and refused when NODE_ENV=production` })
      made.edgegrids[name] = { ...found, ...(accountSwitchKey === undefined ? {} : { accountSwitchKey }) }
    } catch (error) {
      faults.push({ path: ['edgegrids', name, 'section'], message: `${nameOf(path)} ${resolve(dir, edgerc)} cannot be used: ${(error as Error).message}` })
    }
  }
  return made
}

const reasons: Record<string, string> = { ENOENT: 'there is no such file', EACCES: 'this service may not read it', EISDIR: 'it is a folder' }
