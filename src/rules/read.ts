import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { listOf, type Environment } from '../environment.ts'
import type { Rule } from '../mapping.ts'
import type { EdgeGridCredentials } from '../purge/credentials.ts'
import { urlHost } from '../spelling.ts'
import { fillTemplate } from '../templates.ts'
import { readAccounts } from './file/accounts.ts'
import { byPlace, type Fault } from './file/document.ts'
import { parseRules } from './file/parse.ts'
import { hasEdgegrid, hasTarget, makeEdgegrid, makeRules, makeTarget } from './from-environment.ts'
import type { RuleSet, Target } from './rule-set.ts'

/** A rule set, good for use only if there are no faults; faults and warnings name the variable, or file, line and column. */
export interface Reading { set: RuleSet, faults: string[], warnings: string[] }

/** Variables that only make the single rule, and have no part in a rules file. */
const replaced = ['S3_BUCKETS', 'PURGE_BY', 'PURGE_URLS', 'PURGE_CP_CODES'] as const

/**
 * The rules of RULES_FILE, else those of the environment. Without secrets no key is read or asked for, so that rules can
 * be judged and explained where there are none; such a set has accounts without keys.
 */
export function readRuleSet (e: Environment, { withSecrets = true } = {}): Reading {
  return e.RULES_FILE === undefined ? fromEnvironment(e, withSecrets) : fromFile(e, e.RULES_FILE, withSecrets)
}

function fromEnvironment (e: Environment, withSecrets: boolean): Reading {
  const faults: string[] = []
  const warnings: string[] = []
  const target = makeTarget(e, faults, withSecrets)
  const rules = makeRules(e, target.cpCodes[0] as number, faults, warnings)
  const isNeeded = withSecrets && (e.PURGE_BY !== 'none' || hasEdgegrid(e))
  const edgegrid = isNeeded ? makeEdgegrid(e, faults) : undefined
  return { set: assemble(e, rules, { default: target }, edgegrid === undefined ? {} : { default: edgegrid }), faults, warnings }
}

function fromFile (e: Environment, file: string, withSecrets: boolean): Reading {
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (error) {
    return { set: assemble(e, [], {}, {}), faults: [`RULES_FILE: ${(error as Error).message}`], warnings: [] }
  }
  const production = e.NODE_ENV === 'production'
  const ownFaults: Record<'target' | 'edgegrid', string[]> = { target: [], edgegrid: [] }
  const made = hasTarget(e) ? makeTarget(e, ownFaults.target, withSecrets) : undefined
  const target = withSecrets || ownFaults.target.length === 0 ? made : undefined
  const edgegrid = withSecrets && hasEdgegrid(e) ? makeEdgegrid(e, ownFaults.edgegrid) : undefined
  const parsed = parseRules(source, withSecrets
    ? { production, target, edgegrid: hasEdgegrid(e) }
    : { production, target: target ?? 'unknown', edgegrid: true })
  const accounts = withSecrets ? readAccounts(parsed.file, dirname(file), production) : { targets: withoutKeys(parsed.file.targets), edgegrids: {}, faults: [] }
  const show = ({ line, column, message }: Fault) => `${file}:${line}:${column}: ${message}`
  const targets: Record<string, Target> = { ...(target === undefined ? {} : { default: target }), ...accounts.targets }
  const rules = parsed.file.rules.map((rule): Rule => ({ ...rule, cpCode: rule.cpCode ?? targets[rule.target]?.cpCodes[0] ?? 0 }))
  const unused = [...replaced.filter(name => e[name] !== undefined), ...(e.PURGE_NETWORK === 'production' ? [] : ['PURGE_NETWORK']), ...(e.PURGE_ACTION === 'invalidate' ? [] : ['PURGE_ACTION'])]
  return {
    set: assemble(e, rules, targets, { ...(edgegrid === undefined ? {} : { default: edgegrid }), ...accounts.edgegrids }),
    faults: [
      ...[...parsed.faults, ...accounts.faults.map(parsed.place)].sort(byPlace).map(show),
      ...(Object.hasOwn(parsed.file.targets, 'default') || !withSecrets ? [] : ownFaults.target),
      ...(Object.hasOwn(parsed.file.edgegrids, 'default') ? [] : ownFaults.edgegrid)
    ],
    warnings: [...parsed.warnings.map(show), ...(unused.length === 0 ? [] : [`${unused.join(', ')}: without effect, because RULES_FILE says which objects go where and what is purged`])]
  }
}

function withoutKeys (targets: Record<string, Omit<Target, 'key'>>): Record<string, Target> {
  return Object.fromEntries(Object.entries(targets).map(([name, target]) => [name, { ...target, key: '' }]))
}

function assemble (e: Environment, rules: Rule[], targets: Record<string, Target>, edgegrids: Record<string, EdgeGridCredentials>): RuleSet {
  const named = listOf(e.PURGE_HOSTS)
  const ofTemplates = rules.flatMap(rule => rule.purge.urls ?? []).flatMap(template => urlHost(fillTemplate(template, { key: 'x', keyWithoutPrefix: 'x' })) ?? [])
  return { rules, targets, edgegrids, buckets: [...new Set(rules.map(rule => rule.bucket))], hosts: named.length > 0 ? named : [...new Set(ofTemplates)] }
}
