/**
 * A full name as the store keeps it, such as `/123456/img/cat.jpg`: one character per byte (latin1). Names are byte
 * strings and need not be UTF-8, and in this form `<` is the store's own order, unsigned bytes.
 */
export type ByteName = string

/** The name a person would type, as the store keeps it. */
export function bytesOf (text: string): ByteName {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** A stored name for people: bytes that are no UTF-8 show as the replacement character. */
export function textOf (name: ByteName): string {
  return Buffer.from(name, 'latin1').toString('utf8')
}

/** The bytes behind percent-encoding; `+` stays a plus, as it must in paths. Undefined when an escape is broken. */
export function percentDecode (encoded: string): ByteName | undefined {
  if (/%(?![0-9a-fA-F]{2})/.test(encoded)) return undefined
  return encoded.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

/** The first segment of a path, without slashes. */
export function cpCodeOf (name: ByteName): string {
  return name.slice(1).split('/', 1)[0] as string
}

/** Whether a name is the root of its CP code, with or without the slash. */
export function isRoot (name: ByteName): boolean {
  return /^\/[^/]*\/?$/.test(name)
}

/** The name of a directory as a prefix of what it holds: with exactly the trailing slash that was missing. */
export function asPrefix (name: ByteName): ByteName {
  return name.endsWith('/') ? name : name + '/'
}

/**
 * Directory and last component of a name. Slashes at the end belong to the component, as they do in the store. The
 * root of a CP code has the directory `/`.
 */
export function splitName (name: ByteName): { directory: ByteName, base: ByteName } {
  const cut = name.replace(/\/+$/, '').lastIndexOf('/')
  return { directory: name.slice(0, cut) || '/', base: name.slice(cut + 1) }
}

/** What makes a path too long, in words; undefined when it is not. */
export function tooLong (path: ByteName, maxPathBytes: number, maxComponentBytes: number): string | undefined {
  if (path.length > maxPathBytes) return `the path has ${path.length} bytes, more than ${maxPathBytes}`
  const longest = Math.max(...path.split('/').map((component) => component.length))
  if (longest > maxComponentBytes) return `a component of the path has ${longest} bytes, more than ${maxComponentBytes}`
  return undefined
}
