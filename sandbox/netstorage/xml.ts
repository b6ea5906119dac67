/** The two encodings an answer can be asked for; ISO-8859-1 sends the bytes of names as they are. */
export type Encoding = 'ISO-8859-1' | 'UTF-8'

/** An element: its attributes in order, values as bytes (one character each) or numbers; undefined ones are left out. */
export interface Element {
  name: string
  attributes: Record<string, string | number | undefined>
  children?: Element[]
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;', '\t': '&#9;', '\n': '&#10;', '\r': '&#13;'
}

/**
 * An XML answer: declaration, one space of indent per level, a final newline. A value the encoding or XML 1.0 cannot
 * show goes out as `<attribute>_base64`.
 */
export function writeXml (root: Element, encoding: Encoding): Buffer {
  const text = `<?xml version="1.0" encoding="${encoding}"?>\n${lines(root, encoding, '')}`
  return Buffer.from(text, 'latin1')
}

function lines ({ name, attributes, children = [] }: Element, encoding: Encoding, indent: string): string {
  const open = `${indent}<${name}${Object.entries(attributes).map(([key, value]) => attribute(key, value, encoding)).join('')}`
  if (children.length === 0) return `${open}/>\n`
  return `${open}>\n${children.map((child) => lines(child, encoding, indent + ' ')).join('')}${indent}</${name}>\n`
}

function attribute (name: string, value: string | number | undefined, encoding: Encoding): string {
  if (value === undefined) return ''
  const bytes = String(value)
  if (!isShowable(bytes, encoding)) return ` ${name}_base64="${Buffer.from(bytes, 'latin1').toString('base64')}"`
  return ` ${name}="${bytes.replace(/[&<>"'\t\n\r]/g, (character) => ESCAPES[character] as string)}"`
}

function isShowable (bytes: string, encoding: Encoding): boolean {
  // Of the control characters XML 1.0 allows three.
  if (Array.from(bytes).some((character) => character < ' ' && !'\t\n\r'.includes(character))) return false
  if (encoding === 'ISO-8859-1') return true
  const text = Buffer.from(bytes, 'latin1').toString('utf8')
  return Buffer.from(text, 'utf8').toString('latin1') === bytes && !/[\uFFFE\uFFFF]/.test(text)
}
