import fc from 'fast-check'

/** JSON Schema as far as `openapi.yaml` uses it. */
export interface Schema {
  $ref?: string
  type?: string
  enum?: unknown[]
  format?: string
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  items?: Schema
  minItems?: number
  maxItems?: number
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  oneOf?: Array<{ required: string[] }>
}

/** Text that has broken parsers, databases and URLs before. */
const nasty = ['', ' ', '\u0000', '\ud800', '\ufeff', '\u202e', '%00', '%', '+', '../..', "'; --", '{key}', '\r\nx: y', 'é', 'e\u0301', '😀', '__proto__', 'null', '-0', '1e999']
/** How values are made: what references mean, and by member values that exist, so that much of what is made gets beyond the first check. */
export interface Making { resolve: (ref: string) => Schema, likely: Record<string, unknown[]> }

const text = fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...nasty) }, fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 1100 }))

/** Values that a schema allows. */
export function allowed (schema: Schema, making: Making): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return allowed(making.resolve(schema.$ref), making)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  switch (schema.type) {
    case 'string': return textFor(schema)
    case 'integer': return fc.integer({ min: schema.minimum ?? -(2 ** 31), max: schema.maximum ?? 2 ** 53 - 1 })
    case 'boolean': return fc.boolean()
    case 'array': return fc.array(allowed(schema.items ?? {}, making), { minLength: schema.minItems ?? 0, maxLength: Math.min(schema.maxItems ?? 5, 5) })
    case 'object': return objectFor(schema, making)
    default: return fc.jsonValue()
  }
}

/** Values for a member: mostly such as exist, as far as they are allowed. */
export function member (name: string, schema: Schema, making: Making): fc.Arbitrary<unknown> {
  const values = making.likely[name] ?? []
  const any = allowed(schema, making)
  return values.length === 0 ? any : fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...values) }, any)
}

function textFor ({ format, pattern, minLength = 0, maxLength = 2000 }: Schema): fc.Arbitrary<string> {
  if (format === 'uuid') return fc.uuid()
  // RFC 3339 knows years from 0 to 9999, leap seconds and small letters.
  if (format === 'date-time') return fc.oneof(fc.date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }).map(date => date.toISOString()), fc.constantFrom('2016-12-31T23:59:60Z', '0000-01-01T00:00:00-23:59', '9999-12-31T23:59:59+23:59', '2026-01-01t00:00:00z'))
  // What hardly any text meets must be made after the pattern.
  if (pattern !== undefined && !pattern.startsWith('^[^')) return fc.stringMatching(new RegExp(pattern, 'u'))
  const isAllowed = pattern === undefined ? () => true : (value: string) => new RegExp(pattern, 'u').test(value)
  return text.filter(value => [...value].length >= minLength && [...value].length <= maxLength && isAllowed(value))
}

function objectFor ({ properties = {}, required = [], oneOf, additionalProperties }: Schema, making: Making): fc.Arbitrary<unknown> {
  const members = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, member(name, schema, making)]))
  const object = fc.oneof(...(oneOf ?? [{ required }]).map(form => {
    // Of several forms one is made: its members, and those that belong to none.
    const others = new Set((oneOf ?? []).filter(each => each !== form).flatMap(each => each.required))
    const mine = Object.fromEntries(Object.entries(members).filter(([name]) => !others.has(name)))
    return fc.record(mine, { requiredKeys: [...new Set([...required, ...form.required])] as never[] })
  }))
  return additionalProperties === true ? fc.tuple(object, fc.dictionary(fc.string({ maxLength: 20 }), fc.jsonValue(), { maxKeys: 4 })).map(([known, more]) => ({ ...known as object, ...more })) : object
}

/** Any value at all, or one that a schema allows with something in it spoilt. */
export function spoilt (schema: Schema, making: Making): fc.Arbitrary<unknown> {
  const anything = fc.oneof(fc.jsonValue({ maxDepth: 3 }), text)
  const one = fc.tuple(allowed(schema, making), fc.nat(), fc.oneof(anything, fc.constant(undefined))).map(([value, at, wrong]) => {
    if (typeof value !== 'object' || value === null) return wrong
    const names = [...Object.keys(value), 'unknown']
    const name = names[at % names.length] as string
    return Array.isArray(value) ? [...value, wrong] : { ...value, [name]: wrong }
  })
  return fc.oneof({ weight: 3, arbitrary: one }, anything)
}
