import { checkTag, checkUrl } from './spelling.ts'

const placeholder = /\{(key|keyWithoutPrefix)\}/g

/** What the placeholders of a template stand for. */
export interface Names { key: string, keyWithoutPrefix: string }

/** A template filled in one pass, so that a key which looks like a placeholder stays as it is. */
export function fillTemplate (template: string, names: Names, spell = (text: string) => text): string {
  return template.replace(placeholder, (_, name: keyof Names) => spell(names[name]))
}

/** Why a template cannot be filled, in words that follow its name; `undefined` if it can. */
export function checkPlaceholders (template: string, needed = true): string | undefined {
  const stranger = /\{[^{}]*\}/g.exec(template.replace(placeholder, ''))?.[0]
  if (stranger !== undefined) return `holds ${stranger}, and the placeholders are {key} and {keyWithoutPrefix}`
  return needed && template.search(placeholder) === -1 ? 'holds neither {key} nor {keyWithoutPrefix}, so that every object would get the same' : undefined
}

/** Why a template makes no URL or ARL that can be purged, in words that follow its name; `undefined` if it does. */
export function checkUrlTemplate (template: string): string | undefined {
  const fault = checkPlaceholders(template)
  if (fault !== undefined) return fault
  if (/^https?:\/\/[^/?#]*\{/i.test(template)) return 'has a placeholder in its host: is a slash missing before it?'
  const filled = fillTemplate(template, { key: 'x', keyWithoutPrefix: 'x' })
  return /[{}]/.test(filled) ? 'holds a stray brace: write %7B or %7D for a literal one' : checkUrl(filled)
}

/** Why a template makes no cache tag for the keys below `prefix`, in words that follow its name; `undefined` if it may. */
export function checkTagTemplate (template: string, prefix = ''): string | undefined {
  return checkPlaceholders(template, false) ?? checkTag(fillTemplate(template, { key: `${prefix}x`, keyWithoutPrefix: 'x' }))
}
