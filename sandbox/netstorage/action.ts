import { percentDecode } from './names.ts'

/** The actions of the API. */
export type ActionName = keyof typeof PARAMETERS

/** A parsed `X-Akamai-ACS-Action`: values are bytes, one character each. */
export interface Action {
  name: ActionName
  params: Record<string, string>
}

/** Parameters each action knows, beside `version`, `action` and `format`. */
const PARAMETERS = {
  upload: ['size', 'md5', 'sha1', 'sha256', 'mtime', 'index-zip', 'upload-type'],
  download: [],
  stat: ['encoding', 'implicit', 'slash'],
  dir: ['encoding', 'slash', 'max_entries', 'start', 'end', 'prefix'],
  list: ['encoding', 'max_entries', 'end', 'mtime_all'],
  du: ['encoding'],
  delete: [],
  rmdir: [],
  mkdir: [],
  rename: ['destination'],
  symlink: ['target', 'mtime'],
  mtime: ['mtime'],
  'quick-delete': ['quick-delete']
} satisfies Record<string, string[]>

const REQUIRED: Partial<Record<ActionName, string>> = {
  rename: 'destination', symlink: 'target', mtime: 'mtime', 'quick-delete': 'quick-delete'
}

const VALUES: Record<string, RegExp> = {
  size: /^\d{1,15}$/,
  md5: /^[0-9a-f]{32}$/i,
  sha1: /^[0-9a-f]{40}$/i,
  sha256: /^[0-9a-f]{64}$/i,
  mtime: /^\d{1,12}$/,
  'index-zip': /^1$/,
  'upload-type': /^binary$/,
  encoding: /^(utf-8|iso-8859-1)$/i,
  implicit: /^yes$/,
  slash: /^both$/,
  max_entries: /^[1-9]\d{0,8}$/,
  mtime_all: /^yes$/,
  destination: /^\/./,
  target: /./,
  'quick-delete': /^imreallyreallysure$/
}

/** Upload values that may come in the trailers of a chunked body instead. */
export const LATE_VALUES = ['md5', 'sha1', 'sha256', 'mtime'] as const

/**
 * Parses an action header by query-string rules: `+` is a space here, unlike in paths. Answers what is wrong with it,
 * in words, when the real service would say 400. `lenient` lets unknown parameters pass.
 */
export function parseAction (header: string, lenient: boolean): Action | string {
  const params: Record<string, string> = {}
  for (const pair of header.split('&')) {
    const [, rawName, rawValue] = /^([^=]+)=(.*)$/s.exec(pair) ?? []
    if (rawName === undefined || rawValue === undefined) return `"${pair}" is no name=value`
    const [name, value] = [rawName, rawValue].map((text) => percentDecode(text.replaceAll('+', ' ')))
    if (name === undefined || value === undefined) return `"${pair}" has a broken escape`
    if (Object.hasOwn(params, name)) return `"${name}" came twice`
    params[name] = value
  }
  if (params.version !== '1') return 'version must be 1'
  const name = params.action ?? ''
  if (!isActionName(name)) return `no action "${name}"`
  return wrongParameter(name, params, lenient) ?? { name, params }
}

function isActionName (name: string): name is ActionName {
  return Object.hasOwn(PARAMETERS, name)
}

function wrongParameter (action: ActionName, params: Record<string, string>, lenient: boolean): string | undefined {
  const known: string[] = PARAMETERS[action]
  for (const [name, value] of Object.entries(params)) {
    if (['version', 'action', 'format'].includes(name)) continue
    if (!known.includes(name)) {
      if (lenient) continue
      return `${action} has no parameter "${name}"`
    }
    const late = action === 'upload' && value === 'atend' && LATE_VALUES.some((each) => each === name)
    if (!late && VALUES[name]?.test(value) === false) return `"${value}" is no value for ${name}`
  }
  const required = REQUIRED[action]
  return required !== undefined && params[required] === undefined ? `${action} needs ${required}` : undefined
}

/**
 * Whether a method may carry an action: reads by GET, download also by HEAD; writes by PUT or POST, upload only by PUT.
 */
export function isMethodFor (action: ActionName, method: string): boolean {
  if (action === 'upload') return method === 'PUT'
  if (action === 'download') return method === 'GET' || method === 'HEAD'
  if (isRead(action)) return method === 'GET'
  return method === 'PUT' || method === 'POST'
}

/** Whether an action only looks. */
export function isRead (action: ActionName): boolean {
  return ['stat', 'dir', 'list', 'du', 'download'].includes(action)
}
