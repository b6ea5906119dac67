import { AppError } from '../errors.ts'
import { findMiss, findRule, mapKey, purgeObjects, type Rule } from '../mapping.ts'
import { suggest } from './file/near.ts'
import type { RuleSet } from './rule-set.ts'

/** What the rules make of a key, in words for people. */
export interface Explanation {
  /** Whether the object would be copied. */
  isCopied: boolean
  lines: string[]
}

/** Tells what would happen to an object and why: its rule, its path, what is purged, and what kept every other rule from winning. */
export function explainKey (set: RuleSet, bucket: string, key: string): Explanation {
  const winner = findRule(set.rules, bucket, key)
  const rivals = set.rules.filter(rule => rule.bucket === bucket && rule !== winner)
  const strangers = set.rules.filter(rule => rule.bucket !== bucket).length
  const others = [
    ...rivals.map(rule => `  ${rule.name}: ${explainLoss(rule, winner, key)}`),
    ...(strangers === 0 ? [] : [`  ${count(strangers, 'rule')} of other buckets`])
  ]
  const { isCopied, lines } = winner === undefined ? explainNone(set, bucket) : explainWin(set, winner, key)
  return { isCopied, lines: [`s3://${bucket}/${key}`, '', ...lines, ...(others.length === 0 ? [] : ['', winner === undefined ? 'What keeps the rules from it:' : 'Rules that lose:', ...others])] }
}

function explainNone ({ buckets }: RuleSet, bucket: string): Explanation {
  const known = buckets.includes(bucket)
  return { isCopied: false, lines: [known ? 'No rule takes this key: it is not copied.' : `No rule is about the bucket ${bucket}${suggest(bucket, buckets)}`] }
}

function explainWin ({ targets }: RuleSet, rule: Rule, key: string): Explanation {
  const row = (name: string, text: string) => `${name.padEnd(10)}${text}`
  const head = row('rule', `${rule.name}, ${rule.prefix === '' ? 'for the whole bucket' : `for the prefix ${rule.prefix}`}`)
  try {
    const { cpCode, path } = mapKey(rule, key)
    const purge = purgeObjects(rule, key)
    const refused = [...(rule.metadata.contentEncoding === 'refuse' ? ['an object with a Content-Encoding'] : []), ...(rule.metadata.redirect === 'refuse' ? ['a website redirect'] : [])]
    return {
      isCopied: true,
      lines: [
        head,
        row('target', `${rule.target}${targets[rule.target] === undefined ? '' : `, ${targets[rule.target]?.hostname}`}`),
        row('path', `/${cpCode}/${path}`),
        row('purge', purge.by === 'none' ? 'nothing' : `${purge.action} on ${purge.network} by ${nouns[purge.by]}, with the credentials ${purge.edgegrid}:`),
        ...purge.objects.map(object => row('', String(object))),
        row('vanished', explainVanished(rule)),
        ...(refused.length === 0 ? [] : [row('refused', refused.join(', '))])
      ]
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return { isCopied: false, lines: [head, row('refused', error.message), ...(key.endsWith('/') ? [row('', 'If it is empty it stands for a folder, and is ignored.')] : [])] }
  }
}

const nouns = { url: 'URL', cpcode: 'CP code', tag: 'cache tag' }

/** What happens when the object is gone from S3. */
function explainVanished ({ deletes, purge: { by } }: Rule): string {
  if (deletes === 'ignore') return 'left on NetStorage, and nothing is purged'
  const purged = { url: 'the same URLs are purged with delete', cpcode: 'the same CP codes are purged', tag: 'the same cache tags are purged', none: 'nothing is purged' }[by]
  return `deleted on NetStorage, and ${purged}`
}

/** Why a rule of the same bucket is not the one. */
function explainLoss (rule: Rule, winner: Rule | undefined, key: string): string {
  const miss = findMiss(rule, rule.bucket, key)
  switch (miss?.why) {
    case 'prefix': return `the key does not begin with ${rule.prefix}`
    case 'include': return `none of its include globs takes the key: ${rule.include.join(', ')}`
    case 'exclude': return `its exclude glob ${miss.glob} takes the key`
    default: return rule.prefix.length === winner?.prefix.length
      ? 'it takes the key too, by a prefix as long, but stands below'
      : `it takes the key too, but its prefix is ${rule.prefix === '' ? 'empty' : `shorter: ${rule.prefix}`}`
  }
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`
