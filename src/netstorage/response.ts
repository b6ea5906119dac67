import { isUtf8 } from 'node:buffer'
import { SaxesParser } from 'saxes'

/** One `<file>` of an answer. What NetStorage leaves out (a directory has no digest) is `undefined`. */
export interface Entry {
  type: 'file' | 'dir' | 'symlink'
  /** Raw and without a trailing slash. In a page of `list` it begins with the CP code, elsewhere it is the last segment. */
  name: string
  /** The name is not valid UTF-8 and shown with U+FFFD, so it leads nowhere as a path; no object of ours is called so. */
  lossy?: true
  sizeBytes?: number | undefined
  /** Lower-case hex, computed by NetStorage over the bytes it stored. */
  md5?: string | undefined
  /** Unix seconds. */
  mtime?: number | undefined
  /** Where a symlink leads. */
  target?: string | undefined
  /** The directory exists only because something is below it. */
  implicit?: true
}

/** An answer to `stat`, `dir` or `list`: all of it, or up to where it resumes. */
export interface Page {
  entries: Entry[]
  /** Raw bytes, since a name need not be UTF-8: a bare name for `dir`, a full path for `list`. */
  resume?: Buffer
}

type Attributes = Record<string, string>

const slash = 0x2f

/** The raw bytes of an attribute; what XML cannot hold comes as base64 under another name, at times without padding. */
function attributeBytes (attributes: Attributes, name: string): Buffer | undefined {
  const plain = attributes[name]
  if (plain !== undefined) return Buffer.from(plain, 'utf8')
  const encoded = attributes[`${name}_base64`]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64')
}

function attributeNumber (attributes: Attributes, name: string): number | undefined {
  const value = attributes[name]
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined
}

/** An entry, or `undefined` for a type we do not know. */
function toEntry (attributes: Attributes): Entry | undefined {
  const { type } = attributes
  const name = attributeBytes(attributes, 'name')
  if (name === undefined || (type !== 'file' && type !== 'dir' && type !== 'symlink')) return undefined
  return {
    type,
    // Directories bear the slash in `list`, and in `stat` when asked with it.
    name: type === 'dir' ? name.toString('utf8').replace(/\/$/, '') : name.toString('utf8'),
    ...(isUtf8(name) ? {} : { lossy: true }),
    sizeBytes: attributeNumber(attributes, 'size'),
    md5: attributes.md5?.toLowerCase(),
    mtime: attributeNumber(attributes, 'mtime'),
    target: attributeBytes(attributes, 'target')?.toString('utf8'),
    ...(attributes.implicit === 'true' ? { implicit: true } : {})
  }
}

/**
 * The XML of `stat` and `dir` (root `stat`) or `list` (root `list`), per Akamai's Usage API. Unknown elements and
 * attributes are ignored. Throws an `Error` on anything but that document in full, and on any DTD.
 */
export function parsePage (xml: Buffer, root: 'stat' | 'list'): Page {
  const page: Page = { entries: [] }
  let depth = 0
  let rootName: string | undefined
  const parser = new SaxesParser()
  parser.on('doctype', () => { throw new Error('the answer holds a DTD') })
  parser.on('opentag', ({ name, attributes }) => {
    depth++
    if (depth === 1) rootName = name
    if (depth !== 2 || rootName !== root) return
    if (name === 'resume') {
      const start = attributeBytes(attributes, 'start')
      if (start !== undefined) page.resume = start
    } else if (name === 'file') {
      const entry = toEntry(attributes)
      if (entry !== undefined) page.entries.push(entry)
    }
  })
  parser.on('closetag', () => { depth-- })
  // UTF-8 whatever the declaration says: under its other one, ISO-8859-1, the bytes of names go out unchanged.
  parser.write(xml.toString('utf8')).close()
  if (rootName !== root) throw new Error(`the answer is no <${root}> but <${rootName}>`)
  return page
}

/**
 * The request path that continues a `list`, raw. The value becomes the next request line, so it must begin with one
 * slash and the CP code that was asked for (a `//host/` there once led URL-joining clients astray), and must lie behind
 * `after`, the path of the page it continues, or the listing would never end. Throws an `Error` otherwise.
 */
export function listResume (start: Buffer, cpCode: number, after: Buffer): Buffer {
  const prefix = Buffer.from(`/${cpCode}/`)
  if (!start.subarray(0, prefix.length).equals(prefix)) throw new Error(`the listing resumes outside CP code ${cpCode}`)
  if (Buffer.compare(start, after) <= 0) throw new Error('the listing resumes where it began')
  return start
}

/**
 * The bare name that continues a `dir`; documents show it below its directory as well. Throws an `Error` if it does not
 * lie behind `after`, where the page it continues began.
 */
export function dirResume (start: Buffer, after: Buffer = Buffer.alloc(0)): Buffer {
  const end = start.at(-1) === slash ? start.length - 1 : start.length
  const name = start.subarray(start.subarray(0, end).lastIndexOf('/') + 1, end)
  if (Buffer.compare(name, after) <= 0) throw new Error('the listing resumes where it began')
  return name
}
