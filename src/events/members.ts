/** The own member of an object, whatever it is; `undefined` where there is no object or no such member of its own. */
export function member (value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? value[name as keyof typeof value] : undefined
}

/** The same, several objects down. */
export function memberAt (value: unknown, ...path: string[]): unknown {
  return path.reduce(member, value)
}

// eslint-disable-next-line no-control-regex
const line = /^[^\u0000-\u001f\u007f]{1,1024}$/

/** A name of one line that is there and has a UTF-8 form; senders write absence as `""` and `null` too. */
export function nameOf (value: unknown): string | undefined {
  return typeof value === 'string' && line.test(value) && value.isWellFormed() ? value : undefined
}

/** A size in bytes, as a number or, as Ceph's documents show it, as a decimal text. */
export function sizeOf (value: unknown): number | undefined {
  const number = typeof value === 'string' && /^(?:0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

/** An RFC 3339 time in UTC, with whatever fraction of a second. */
export function timeOf (value: unknown): Date | undefined {
  const time = new Date(typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(value) ? value : Number.NaN)
  return Number.isNaN(time.getTime()) ? undefined : time
}

/** An object without its members that are undefined. */
export function compact<T extends object> (value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T
}
