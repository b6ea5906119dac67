import { demand, demandCpCode, type Caller } from '../access/caller.ts'
import { AppError } from '../errors.ts'
import { purgeObjects, purgeUrls, type PurgeOverride, type Rule } from '../mapping.ts'
import { checkTag, checkUrl, spellBrowser, spellRfc3986, urlHost } from '../spelling.ts'

/** What calls may name: the rules in force, and what goes with them. */
export interface Limits {
  rules: readonly Rule[]
  buckets: readonly string[]
  /** Upload accounts by their name, with their storage CP codes. */
  targets: Readonly<Record<string, { cpCodes: readonly number[] }>>
  /** Host names whose URLs may be purged at all. */
  hosts: readonly string[]
}

/**
 * What a caller may purge beyond what its rule purges anyway: other URLs are an override and stay on known hosts, CP
 * codes and tags reach wide and have a scope of their own.
 */
export function createPermissions (limits: () => Limits) {
  /** Throws `invalid_request` for what Fast Purge would refuse or misread, `host_not_allowed` for hosts that are not ours. */
  function checkUrls (urls: readonly string[]): void {
    for (const url of urls) {
      const fault = checkUrl(url)
      if (fault !== undefined) throw new AppError('invalid_request', `The URL ${url} cannot be purged: ${fault}.`)
    }
    const { hosts } = limits()
    for (const url of urls) {
      const host = urlHost(url) as string
      if (!hosts.includes(host)) throw new AppError('host_not_allowed', `The host ${host} is not in PURGE_HOSTS (${hosts.join(', ')}).`)
    }
  }

  function checkTags (tags: readonly string[]): void {
    for (const tag of tags) {
      const fault = checkTag(tag)
      if (fault !== undefined) throw new AppError('invalid_request', `The cache tag ${tag} cannot be purged: ${fault}.`)
    }
  }

  function mayPurgeCodes (caller: Caller, codes: readonly number[], own: readonly number[]): void {
    const others = codes.filter(code => !own.includes(code))
    if (others.length === 0) return
    demand(caller, ['purge-wide'], `a purge of the CP code ${others[0]} reaches all of its content`)
    for (const code of others) demandCpCode(caller, code)
    const { rules, targets } = limits()
    const known = new Set([...Object.values(targets).flatMap(target => target.cpCodes), ...rules.flatMap(rule => rule.purge.cpCodes ?? [])])
    const foreign = others.find(code => !known.has(code))
    if (foreign !== undefined) demand(caller, ['override'], `no rule names the CP code ${foreign}`)
  }

  return {
    /** Checks what a request wants purged for one object. */
    object (caller: Caller, rule: Rule, key: string, wish: PurgeOverride): void {
      const { by, objects } = purgeObjects(rule, key, wish)
      const own = purgeObjects(rule, key)
      if (by === 'url') {
        const given = new Set(purgeUrls({ ...rule, purge: { ...rule.purge, spelling: 'both' } }, key))
        const others = (objects as string[]).filter(url => !given.has(url))
        checkUrls(others)
        if (others.length > 0) demand(caller, ['override'], `the rule ${rule.name} does not give the URL ${others[0]}`)
      } else if (by === 'cpcode') mayPurgeCodes(caller, objects as number[], own.by === 'cpcode' ? own.objects as number[] : [])
      else if (by === 'tag') {
        checkTags(objects as string[])
        const others = objects.filter(tag => own.by !== 'tag' || !own.objects.includes(tag))
        if (others.length > 0) demand(caller, ['purge-wide'], `a purge of the tag ${others[0]} may reach much content`)
      }
    },
    /** Checks a purge that names no object. */
    urls (caller: Caller, urls: readonly string[]): void {
      checkUrls(urls)
      const patterns = limits().rules.filter(({ bucket }) => caller.buckets?.has(bucket) ?? true).flatMap(rule => (rule.purge.urls ?? []).map(template => patternOf(template, rule.prefix)))
      const foreign = urls.find(url => !patterns.some(pattern => pattern.test(url)))
      if (foreign !== undefined) demand(caller, ['override'], `no rule gives the URL ${foreign}`)
    },
    cpCodes (caller: Caller, codes: readonly number[]): void {
      mayPurgeCodes(caller, codes, [])
    },
    tags (caller: Caller, tags: readonly string[]): void {
      checkTags(tags)
      demand(caller, ['purge-wide'], 'a purge of tags may reach much content')
    }
  }
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')

/** All URLs that a template makes of the keys under a prefix; a query string may follow, as viewers send it. */
function patternOf (template: string, prefix: string): RegExp {
  const starts = `(?:${[spellRfc3986(prefix), spellBrowser(prefix)].map(escaped).join('|')})`
  const parts = template.split(/(\{key\}|\{keyWithoutPrefix\})/).map(part => part === '{key}' ? `${starts}.*` : part === '{keyWithoutPrefix}' ? '.*' : escaped(part))
  return new RegExp(`^${parts.join('')}(?:\\?.*)?$`)
}
