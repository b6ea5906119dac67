import { checkGlob } from '../../glob.ts'
import { findPathFault, type PurgeRule } from '../../mapping.ts'
import { checkPlaceholders, checkTagTemplate, checkUrlTemplate, fillTemplate } from '../../templates.ts'
import { suggest } from './near.ts'
import type { FileRule, RulesFile } from './schema.ts'
import { nameOf, type Finding } from './words.ts'
import type { Path } from './document.ts'

/** What stands beside the file. `unknown` where the file is judged without its environment. */
export interface Surroundings {
  production: boolean
  /** The target that the environment makes, named `default` unless the file has one of that name. */
  target: { hostname: string, cpCodes: number[] } | 'unknown' | undefined
  /** Whether the environment holds EdgeGrid credentials, likewise. */
  edgegrid: boolean
}

interface Account { hostname: string, cpCodes: number[] }
type Complain = (path: Path, message: string | undefined) => void

/** What only shows when the parts are held against each other; nothing is said of what is `broken` in itself. */
export function checkRules (file: RulesFile, { production, target, edgegrid }: Surroundings, broken: readonly Path[]): { faults: Finding[], warnings: Finding[] } {
  const faults: Finding[] = []
  const warnings: Finding[] = []
  const begins = (path: Path, start: Path) => start.every((step, index) => String(step) === String(path[index]))
  const isThere = (path: Path) => !broken.some(each => begins(path, each))
  const isWhole = (path: Path) => isThere(path) && !broken.some(each => begins(each, path))
  const fault: Complain = (path, message) => { if (message !== undefined && isWhole(path)) faults.push({ path, message: `${nameOf(path)} ${message}` }) }

  const accounts = new Map<string, Account>(typeof target === 'object' ? [['default', target]] : [])
  for (const [name, account] of Object.entries(file.targets)) {
    accounts.delete(name)
    if (isWhole(['targets', name, 'hostname']) && isWhole(['targets', name, 'cpCodes'])) accounts.set(name, account)
  }
  const targetNames = [...new Set([...Object.keys(file.targets), ...(target === undefined ? [] : ['default'])])]
  const edgegridNames = [...new Set([...Object.keys(file.edgegrids), ...(edgegrid ? ['default'] : [])])]
  for (const [name, { hostname }] of accounts) {
    if (production && Object.hasOwn(file.targets, name) && hostname.startsWith('http://')) fault(['targets', name, 'hostname'], 'begins with http://, which is for emulators only and refused when NODE_ENV=production')
  }
  checkOwners(accounts, fault)

  const seen: FileRule[] = []
  for (const [index, rule] of file.rules.entries()) {
    const at = (...path: Path): Path => ['rules', index, ...path]
    const has = (member: keyof FileRule) => isWhole(at(member))
    if (!isThere(at())) continue
    if (has('name') && seen.some(other => other.name === rule.name)) fault(at('name'), `"${rule.name}" is the name of a rule above: give each its own`)
    const whole = (['bucket', 'prefix', 'include', 'exclude'] as const).every(has)
    const shadow = whole ? seen.find(other => takesAllOf(other, rule)) : undefined
    if (shadow !== undefined) fault(at('bucket'), `meets a rule that can never win: "${shadow.name}" above takes the same bucket, prefix and globs. Leave one out, or tell them apart`)
    if (whole) seen.push(rule)
    const prefixFault = has('prefix') ? findPathFault(`${rule.prefix}x`, '')?.trim() : undefined
    if (has('prefix')) {
      fault(at('prefix'), prefixFault)
      if (/[*?]/.test(rule.prefix)) warnings.push({ path: at('prefix'), message: `${nameOf(at('prefix'))} is taken literally: patterns go under include` })
    }
    for (const list of ['include', 'exclude'] as const) {
      if (has(list)) rule[list].forEach((glob, item) => { fault(at(list, item), checkGlob(glob, has('prefix') && prefixFault === undefined ? rule.prefix : '')) })
    }
    const account = has('target') ? accounts.get(rule.target) : undefined
    if (has('target') && isThere(['targets']) && !targetNames.includes(rule.target)) {
      fault(at('target'), `names no target "${rule.target}"${suggest(rule.target, targetNames) || ': give it under targets, or set NS_HOSTNAME, NS_KEYNAME, NS_KEY and NS_CP'}`)
    }
    if (account !== undefined && rule.cpCode !== undefined && !account.cpCodes.includes(rule.cpCode)) {
      fault(at('cpCode'), `${rule.cpCode} is none of the cpCodes of target "${rule.target}" (${account.cpCodes.join(', ')}): add it there, or choose one of them`)
    }
    if (has('path')) fault(at('path'), checkPath(rule, account))
    if (isThere(at('purge'))) checkPurge(rule, at('purge'), isThere(['edgegrids']) ? edgegridNames : undefined, isWhole, fault)
  }
  return { faults, warnings }
}

/** At most one upload runs on a path at a time; two names for one place would break that. */
function checkOwners (accounts: ReadonlyMap<string, Account>, fault: Complain): void {
  const owners = new Map<string, string>()
  for (const [name, { hostname, cpCodes }] of accounts) {
    for (const [index, code] of cpCodes.entries()) {
      const place = `${hostname.toLowerCase()} ${code}`
      const owner = owners.get(place) ?? name
      owners.set(place, owner)
      if (owner !== name) fault(['targets', name, 'cpCodes', index], `${code} belongs to target "${owner}" already: each CP code has one target, so that no two uploads meet on one path`)
    }
  }
}

/** Whether every key that the later rule takes is taken by the earlier one, which wins as the first of equals. */
function takesAllOf (earlier: FileRule, later: FileRule): boolean {
  return earlier.bucket === later.bucket && earlier.prefix === later.prefix &&
    (earlier.include.length === 0 || (later.include.length > 0 && later.include.every(glob => earlier.include.includes(glob)))) &&
    earlier.exclude.every(glob => later.exclude.includes(glob))
}

function checkPath ({ path }: FileRule, account: Account | undefined): string | undefined {
  const fault = checkPlaceholders(path)
  if (fault !== undefined) return fault
  const filled = fillTemplate(path, { key: 'x', keyWithoutPrefix: 'x' })
  const first = filled.split('/')[0] ?? ''
  if (account?.cpCodes.includes(Number(first)) === true) return `begins with the CP code ${first}, but the path is what follows it: leave it out`
  return findPathFault(filled, '')?.trim()
}

const lists: Partial<Record<string, 'urls' | 'cpCodes' | 'tags'>> = { url: 'urls', cpcode: 'cpCodes', tag: 'tags' }

function checkPurge ({ purge, prefix }: FileRule, path: Path, edgegrids: string[] | undefined, isWhole: (path: Path) => boolean, fault: Complain): void {
  const has = (member: keyof PurgeRule) => isWhole([...path, member])
  const needed = lists[purge.by]
  if (needed !== undefined && (purge[needed] ?? []).length === 0) fault([...path, 'by'], `is ${purge.by}, and that needs ${needed}: say which, such as ${examples[needed]}`)
  if (has('urls')) purge.urls?.forEach((template, index) => { fault([...path, 'urls', index], checkUrlTemplate(template)) })
  if (has('tags')) purge.tags?.forEach((template, index) => { fault([...path, 'tags', index], checkTagTemplate(template, typeof prefix === 'string' ? prefix : '')) })
  if (has('by') && has('edgegrid') && purge.by !== 'none' && edgegrids?.includes(purge.edgegrid) === false) {
    fault([...path, 'edgegrid'], `names no credentials "${purge.edgegrid}"${suggest(purge.edgegrid, edgegrids) || ': give them under edgegrids, or set the four AO_* variables or AKAMAI_EDGERC'}`)
  }
}

const examples = { urls: 'urls: ["https://www.example.com/{key}"]', cpCodes: 'cpCodes: [123456]', tags: 'tags: [web]' }
