import type { Action } from './action.ts'
import { notFound, refuse, xml, type Answer } from './answer.ts'
import { asPrefix, cpCodeOf, isRoot, splitName, type ByteName } from './names.ts'
import type { ObjectStore, StoredObject } from './store.ts'
import { writeXml, type Element, type Encoding } from './xml.ts'

const encodingOf = ({ params }: Action): Encoding => params['encoding']?.toLowerCase() === 'utf-8' ? 'UTF-8' : 'ISO-8859-1'
const strip = (name: ByteName) => name.replace(/\/+$/, '')
/** Byte order of the bare names, a file before the directory of its name. */
const byName = (a: ByteName, b: ByteName) => strip(a) < strip(b) ? -1 : strip(a) > strip(b) ? 1 : a.length - b.length

function entry (name: ByteName, { type, sizeBytes, md5, mtime, target }: StoredObject): Element {
  if (type === 'file') return { name: 'file', attributes: { type, name, size: sizeBytes, md5, mtime } }
  return { name: 'file', attributes: { type, name, target: type === 'symlink' ? target : undefined, mtime } }
}

/** One name: a file or link, an explicit directory, or an implicit one where `implicit=yes` asks for it. */
export function stat (store: ObjectStore, name: ByteName, action: Action, look = (wanted: ByteName) => store.get(wanted)): Answer {
  const { directory, base } = splitName(name)
  const found: Element[] = []
  const exact = look(name)
  if (exact !== undefined) found.push(entry(base, exact))
  if (exact === undefined || action.params['slash'] === 'both') {
    const prefix = asPrefix(name)
    const explicit = look(prefix)
    if (explicit !== undefined && explicit !== exact) found.push(entry(base, explicit))
    else if (exact === undefined && action.params['implicit'] === 'yes' && (isRoot(name) || store.hasDirectory(prefix))) {
      found.push({ name: 'file', attributes: { type: 'dir', name: base, implicit: 'true' } })
    }
  }
  return found.length === 0 ? notFound('nothing of that name') : xml(writeXml({ name: 'stat', attributes: { directory }, children: found }, encodingOf(action)))
}

/** The direct children of a directory, implicit ones included, cut into pages. */
export function dir (store: ObjectStore, name: ByteName, action: Action, pageSize: number): Answer {
  const { params } = action
  if (store.get(strip(name)) !== undefined) return refuse(412, 'dir of a file')
  const prefix = asPrefix(name)
  if (!store.hasDirectory(prefix) && !isRoot(name)) return notFound('no such directory')
  const bare = (text: string | undefined) => text?.startsWith(prefix) === true ? text.slice(prefix.length) : text?.startsWith(prefix.slice(1)) === true ? text.slice(prefix.length - 1) : text
  const [start = '', end, only = ''] = [bare(params['start']), bare(params['end']), params['prefix']]
  const both = params['slash'] === 'both'
  const children = new Map<ByteName, Element>()
  for (const [full, object] of store.below(prefix)) {
    const rest = full.slice(prefix.length)
    if (rest === '') continue
    const slash = rest.indexOf('/')
    const child = slash === -1 ? rest : rest.slice(0, slash)
    const key = slash === -1 ? child : `${child}/`
    if (slash === -1) children.set(key, entry(child, object))
    else {
      const known = children.get(key)?.attributes ?? { type: 'dir', name: child, bytes: 0, files: 0, mtime: object.mtime, implicit: 'true' }
      const explicit = full === `${prefix}${child}/`
      children.set(key, { name: 'file', attributes: { ...known, bytes: Number(known['bytes']) + object.sizeBytes, files: Number(known['files']) + 1, ...(explicit ? { implicit: undefined, mtime: object.mtime } : {}) } })
    }
  }
  const names = [...children.keys()].sort(byName)
    // As in stat, a file hides the directory of its name, unless both are asked for.
    .filter(key => both || key === strip(key) || !children.has(strip(key)))
    .filter(key => byName(key, start) >= 0 && (end === undefined || strip(key) <= end) && strip(key).startsWith(only))
  return page(names.map(key => ({ element: children.get(key) as Element, resume: both ? key : strip(key) })), 'stat', { directory: strip(name) }, action, pageSize)
}

/** Everything from a name to the end of its CP code, or to `end`, by full name, cut into pages. */
export function list (store: ObjectStore, name: ByteName, action: Action, pageSize: number): Answer {
  const { params } = action
  const root = `/${cpCodeOf(name)}/`
  const end = params['end'] === undefined ? undefined : `/${params['end'].replace(/^\//, '')}`
  const found: Array<{ element: Element, resume: string }> = []
  for (const [full, object] of store.from(name)) {
    if (!full.startsWith(root) || (end !== undefined && full > end)) break
    const { attributes } = entry(full.slice(1), object)
    if (object.type !== 'file' && params['mtime_all'] !== 'yes') {
      delete attributes['mtime']
      delete attributes['target']
    }
    found.push({ element: { name: 'file', attributes }, resume: full })
    if (found.length > Math.min(pageSize, Number(params['max_entries'] ?? pageSize))) break
  }
  return found.length === 0 ? notFound('nothing to list') : page(found, 'list', {}, action, pageSize)
}

function page (found: Array<{ element: Element, resume: string }>, name: string, attributes: Element['attributes'], action: Action, pageSize: number): Answer {
  const size = Math.min(pageSize, Number(action.params['max_entries'] ?? pageSize))
  const next = found[size]
  const children = [...found.slice(0, size).map(each => each.element), ...(next === undefined ? [] : [{ name: 'resume', attributes: { start: next.resume } }])]
  return xml(writeXml({ name, attributes, children }, encodingOf(action)))
}

/** Size and number of all below a directory. */
export function du (store: ObjectStore, name: ByteName, action: Action): Answer {
  const prefix = asPrefix(name)
  if (!store.hasDirectory(prefix) && !isRoot(name)) return notFound('no such directory')
  let [files, bytes] = [0, 0]
  for (const [, object] of store.below(prefix)) {
    files++
    bytes += object.sizeBytes
  }
  return xml(writeXml({ name: 'du', attributes: { directory: strip(name) }, children: [{ name: 'du-info', attributes: { files, bytes } }] }, encodingOf(action)))
}

/** The bytes of a file, or a range of them. */
export function download (store: ObjectStore, name: ByteName, range: string | undefined): Answer {
  const object = store.get(name)
  if (object?.type !== 'file') return notFound('no such file')
  if (object.body === undefined) return refuse(500, 'the emulator did not keep a body of this size')
  const { body, md5, mtime, micros, sizeBytes } = object
  const headers = { 'Content-Type': 'application/octet-stream', ETag: `"${md5}:${mtime}.${String(Math.floor(micros)).padStart(6, '0')}"`, 'Last-Modified': new Date(mtime * 1000).toUTCString() }
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  const [first, last] = [Number(from), to === '' ? sizeBytes - 1 : Math.min(sizeBytes - 1, Number(to))]
  if (from === undefined || (to !== '' && Number(to) < first)) return { status: 200, headers, body }
  if (first >= sizeBytes) return refuse(416, 'the range lies behind the end')
  return { status: 206, headers: { ...headers, 'Content-Range': `bytes ${first}-${last}/${sizeBytes}` }, body: body.subarray(first, last + 1) }
}
