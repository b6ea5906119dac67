import type { ErrorObject } from 'ajv'
import type { Path } from './document.ts'
import { suggest } from './near.ts'

/** A fault with the value, or the name of a member, that it is about. */
export interface Finding {
  path: Path
  part?: 'value' | 'name'
  message: string
  /** What is missing or of the wrong form: nothing more can be said of it. */
  breaks?: Path
}

/** What a validated value looks like to the validator that complains. */
interface Schema { description?: string, default?: unknown, patternErrorMessage?: string, type?: string, enum?: string[], properties?: Record<string, Schema>, patternProperties?: object }

const types: Record<string, string> = { string: 'text', integer: 'a whole number', number: 'a number', array: 'a list', object: 'a map of members', boolean: 'true or false' }
/** Members that people write where a secret would stand. */
const secret = /^(api_?)?key$|secret|password|token|^client_|^access_/i

/** One complaint of the validator (Ajv, verbose) in words that say what to do. */
export function toFinding ({ keyword, instancePath, params, parentSchema, data }: ErrorObject): Finding {
  const path = toPath(instancePath)
  const schema = parentSchema as Schema
  switch (keyword) {
    case 'required': {
      const { missingProperty: missing } = params as { missingProperty: string }
      return { path, breaks: [...path, missing], message: `${nameOf(path)} lacks "${missing}": ${schema.properties?.[missing]?.description ?? 'it is needed'}` }
    }
    case 'additionalProperties': {
      const { additionalProperty: member } = params as { additionalProperty: string }
      const shown = member.length > 60 ? `${member.slice(0, 60)}...` : member
      return { path: [...path, member], part: 'name', message: describeStranger(shown, schema), ...(schema.properties === undefined ? { breaks: [...path, member] } : {}) }
    }
    case 'type': return { path, breaks: path, message: `${nameOf(path)} must be ${types[schema.type ?? ''] ?? schema.type}${why(schema.type, data)}` }
    case 'enum': return { path, message: `${nameOf(path)} must be one of ${schema.enum?.join(', ')}` }
    case 'pattern': return { path, message: `${nameOf(path)} ${schema.patternErrorMessage}` }
    case 'minLength':
    case 'minItems': return { path, message: `${nameOf(path)} must not be empty` }
    case 'uniqueItems': {
      const { i, j } = params as { i: number, j: number }
      return { path: [...path, Math.max(i, j)], message: `${nameOf([...path, Math.max(i, j)])} is in the list already` }
    }
    default: return { path, message: `${nameOf(path)} must be ${limits[keyword] ?? keyword} ${(params as { limit: number }).limit}` }
  }
}

const limits: Record<string, string> = {
  maxLength: 'no longer than', maxItems: 'a list of no more entries than', minimum: 'at least', maximum: 'at most', exclusiveMinimum: 'more than'
}

/** A path as people write it: `rules[0].purge.urls[1]`. */
export function nameOf (path: Path): string {
  const name = path.map(step => typeof step === 'number' ? `[${step}]` : `.${step}`).join('').replace(/^\./, '')
  return name === '' ? 'the file' : name
}

function describeStranger (member: string, { properties, patternErrorMessage }: Schema): string {
  if (properties === undefined) return `"${member}" ${patternErrorMessage}`
  const known = Object.keys(properties).filter(each => each !== '$schema')
  if (secret.test(member) && known.includes('keyFile')) return `"${member}" does not belong here, as no secret does: put the key into a file of its own, and name that with keyFile`
  if (secret.test(member) && known.includes('edgerc')) return `"${member}" does not belong here, as no secret does: put the credentials into an .edgerc file, and name that with edgerc`
  return `"${member}" is not known here${suggest(member, known)}`
}

/** What was likely meant where a value is of another type. */
function why (type: string | undefined, data: unknown): string {
  if (data === null) return ', and there is nothing here'
  if (type === 'string' && typeof data === 'object' && !Array.isArray(data)) return ': text that begins with { must stand in quotes'
  if (type === 'array' && typeof data === 'string') return ': put brackets around it, [...]'
  if ((type === 'integer' || type === 'number') && typeof data === 'string') return ', without quotes'
  if (type === 'string' && typeof data !== 'object') return ': put it in quotes'
  return ''
}

/** A JSON pointer as a path; indexes become numbers. */
function toPath (pointer: string): Path {
  return pointer.split('/').slice(1).map(step => /^\d+$/.test(step) ? Number(step) : step.replaceAll('~1', '/').replaceAll('~0', '~'))
}
