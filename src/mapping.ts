import { AppError } from './errors.ts'
import { compileGlob } from './glob.ts'
import { checkTag, spellers, type Spelling } from './spelling.ts'
import { fillTemplate } from './templates.ts'

/** How the URLs, CP codes or tags of an object are purged. */
export interface PurgeRule {
  by: 'url' | 'cpcode' | 'tag' | 'none'
  /** URL or ARL templates with `{key}` or `{keyWithoutPrefix}`. */
  urls?: string[]
  /** Delivery CP codes, usually not the storage one. */
  cpCodes?: number[]
  /** Cache tags; templates as the URLs are, filled with the key as it is. */
  tags?: string[]
  spelling: Spelling
  /** File names whose directory is purged with them: `a/index.html` also purges `a/`. */
  indexDocuments: string[]
  action: 'invalidate' | 'delete'
  network: 'production' | 'staging'
  /** The name of the EdgeGrid credentials. */
  edgegrid: string
}

/** What happens to the objects of a bucket under a prefix: where they are stored, and what is purged for them. */
export interface Rule {
  name: string
  bucket: string
  /** Empty for the whole bucket; the longest prefix wins. */
  prefix: string
  /** Globs over the whole key: one of them must take it; empty = any key. */
  include: string[]
  /** Globs over the whole key: none of them may take it. */
  exclude: string[]
  /** The name of the NetStorage account. */
  target: string
  /** Storage CP code. */
  cpCode: number
  /** Template of the path below the CP code, with `{key}` or `{keyWithoutPrefix}`, without a leading slash. */
  path: string
  deletes: 'propagate' | 'ignore'
  etagIsMd5: 'auto' | 'never'
  metadata: { contentEncoding: 'refuse' | 'ignore', redirect: 'refuse' | 'ignore' }
  purge: PurgeRule
}

/** The member `purge` of a request: what it names takes the place of the rule's. */
export type PurgeOverride = Partial<Pick<PurgeRule, 'by' | 'action' | 'network' | 'urls' | 'cpCodes' | 'tags'>>

/** What one purge is to reach: URLs and tags are strings, CP codes numbers. `objects` is empty where nothing is named. */
export interface PurgeObjects extends Pick<PurgeRule, 'by' | 'action' | 'network' | 'edgegrid'> {
  objects: Array<string | number>
}

const maxBytes = 1024
const byteLength = (text: string) => Buffer.byteLength(text, 'utf8')

/** Why a rule does not take an object. */
export type Miss = { why: 'bucket' | 'prefix' | 'include' } | { why: 'exclude', glob: string }

const globs = new WeakMap<Rule, Record<'include' | 'exclude', Array<(key: string) => boolean>>>()

/** The tests of a rule's globs, made once a rule. */
function globsOf (rule: Rule) {
  const made = globs.get(rule) ?? { include: rule.include.map(compileGlob), exclude: rule.exclude.map(compileGlob) }
  globs.set(rule, made)
  return made
}

/** What keeps a rule from taking an object; `undefined` if it takes it. */
export function findMiss (rule: Rule, bucket: string, key: string): Miss | undefined {
  if (rule.bucket !== bucket) return { why: 'bucket' }
  if (!key.startsWith(rule.prefix)) return { why: 'prefix' }
  const { include, exclude } = globsOf(rule)
  if (include.length > 0 && !include.some(matches => matches(key))) return { why: 'include' }
  const glob = rule.exclude[exclude.findIndex(matches => matches(key))]
  return glob === undefined ? undefined : { why: 'exclude', glob }
}

/** The rule an object meets: of those that take it the one with the longest prefix, the first of equals. */
export function findRule (rules: readonly Rule[], bucket: string, key: string): Rule | undefined {
  let best: Rule | undefined
  for (const rule of rules) {
    // The cheap question first: a rule that could not win needs no globs.
    if ((best === undefined || rule.prefix.length > best.prefix.length) && findMiss(rule, bucket, key) === undefined) best = rule
  }
  return best
}

/** Whether an object only stands for a folder, as consoles and sync tools make them: it has no place on NetStorage. */
export function isFolderMarker (key: string, sizeBytes: number): boolean {
  return sizeBytes === 0 && key.endsWith('/')
}

/**
 * Where an object goes on NetStorage: the path is raw, below the CP code, without a leading slash. `override` is what a
 * request named itself. Throws `key_not_mappable` for a key or path that NetStorage, a URL, a cache tag or S3 cannot
 * hold unharmed: it is never silently renamed.
 */
export function mapKey (rule: Rule, key: string, override: { path?: string, cpCode?: number } = {}): { cpCode: number, path: string } {
  checkKey(key)
  const path = override.path ?? fillTemplate(rule.path, names(rule, key))
  if (path !== key) refuse(findPathFault(path, override.path === undefined ? `the path that rule ${rule.name} makes of it` : 'the path of the request'), key)
  if (rule.purge.by === 'tag') {
    for (const tag of purgeTags(rule, key)) {
      const fault = checkTag(tag)
      if (fault !== undefined) refuse(`the cache tag that rule ${rule.name} makes of it ${fault}`, key)
    }
  }
  return { cpCode: override.cpCode ?? rule.cpCode, path }
}

/**
 * As `mapKey`, for a key that may be a folder marker: only S3 can tell whether it is, so its path keeps the slash, and is
 * never written.
 */
export function mapObject (rule: Rule, key: string, override: { path?: string, cpCode?: number } = {}): { cpCode: number, path: string } {
  const marker = override.path === undefined && isMarkerKey(key) ? '/' : ''
  const { cpCode, path } = mapKey(rule, marker === '' ? key : key.slice(0, -1), override)
  return { cpCode, path: path + marker }
}

const isMarkerKey = (key: string) => key.length > 1 && key.endsWith('/')

/** Throws `key_not_mappable` for a key that no rule could map. */
export function checkKey (key: string): void {
  refuse(findPathFault(key, 'the key'), key)
}

function refuse (fault: string | undefined, key: string): void {
  if (fault === undefined) return
  // JSON escapes what would garble a log, lone surrogates included.
  const shown = key.length > 200 ? `${key.slice(0, 200)}...` : key
  throw new AppError('key_not_mappable', `The key ${JSON.stringify(shown)} cannot be copied to NetStorage: ${fault}.`)
}

/** What is wrong with a key or path, in words; `undefined` if nothing. `what` names it. */
export function findPathFault (text: string, what: string): string | undefined {
  if (!text.isWellFormed()) return `${what} holds a lone surrogate, which has no UTF-8 form`
  if (text === '') return `${what} is empty`
  if (byteLength(text) > maxBytes) return `${what} has ${byteLength(text)} bytes in UTF-8, and ${maxBytes} is the most`
  // eslint-disable-next-line no-control-regex
  const control = /[\u0000-\u001f\u007f]/.exec(text)?.[0]
  if (control !== undefined) return `${what} holds the control character U+${control.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
  if (text.startsWith('/')) return `${what} begins with a slash, which makes an empty segment`
  if (text.endsWith('/')) return `${what} ends with a slash, which makes an empty segment`
  const segments = text.split('/')
  if (segments.includes('')) return `${what} holds "//", which makes an empty segment`
  const dots = segments.find((segment) => segment === '.' || segment === '..')
  return dots === undefined ? undefined : `${what} holds the segment "${dots}", which URLs resolve away`
}

const names = (rule: Rule, key: string) => ({ key, keyWithoutPrefix: key.slice(rule.prefix.length) })

/**
 * The URLs that show an object: each template in each spelling, followed by those of the directory whose index document
 * it is, without repeats and in a stable order.
 */
export function purgeUrls (rule: Rule, key: string, templates: readonly string[] = rule.purge.urls ?? []): string[] {
  const name = rule.purge.indexDocuments.find((document) => key === document || key.endsWith(`/${document}`))
  const directory = name === undefined ? undefined : key.slice(0, -name.length)
  return [...new Set(templates.flatMap((template) => {
    // A prefix that reaches into the file name leaves no directory that {keyWithoutPrefix} could name.
    const named = directory !== undefined && (directory.startsWith(rule.prefix) || !template.includes('{keyWithoutPrefix}'))
    const keys = named ? [key, directory] : [key]
    return keys.flatMap((each) => spellers(rule.purge.spelling).map((spell) => fillTemplate(template, names(rule, each), spell)))
  }))]
}

/** The cache tags of an object, without repeats. */
function purgeTags (rule: Rule, key: string): string[] {
  return [...new Set((rule.purge.tags ?? []).map(template => fillTemplate(template, names(rule, key))))]
}

/**
 * What to purge for an object: the rule's, with what the request names in its place. A request that names URLs, CP codes
 * or tags and no `by` means that kind. Its URLs may be templates, as the rule's are; they are not checked here.
 */
export function purgeObjects (rule: Rule, key: string, override: PurgeOverride = {}): PurgeObjects {
  const by = override.by ?? impliedBy(override) ?? rule.purge.by
  const objects = {
    url: () => purgeUrls(rule, key, override.urls),
    cpcode: () => override.cpCodes ?? rule.purge.cpCodes ?? [],
    tag: () => override.tags ?? purgeTags(rule, key),
    none: () => []
  }[by]()
  return {
    by,
    action: override.action ?? rule.purge.action,
    network: override.network ?? rule.purge.network,
    edgegrid: rule.purge.edgegrid,
    objects: [...new Set<string | number>(objects)]
  }
}

/** The kind of the only list a request gives; two kinds at once need a `by` to choose. */
function impliedBy (override: PurgeOverride): PurgeRule['by'] | undefined {
  const members = [['urls', 'url'], ['cpCodes', 'cpcode'], ['tags', 'tag']] as const
  const given = members.filter(([member]) => override[member] !== undefined)
  return given.length === 1 ? given[0]?.[1] : undefined
}
