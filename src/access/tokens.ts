import { createHash } from 'node:crypto'
import { parseDocument } from 'yaml'

/** What a token may do: start syncs, uploads, purges, purges of CP codes and tags, leave the rules, send events, look, act on jobs. */
export const scopes = ['sync', 'upload', 'purge', 'purge-wide', 'override', 'events', 'read', 'admin'] as const
/** One of the things a token may do. */
export type Scope = typeof scopes[number]

/** A secret that opens the service, kept as its hash only. */
export interface Token {
  /** For jobs, metrics and logs; the same name twice is a rotation. */
  name: string
  sha256: Buffer
  scopes: ReadonlySet<Scope>
  expiresAt?: Date
  /** Only objects of these buckets; absent = of every bucket the service copies from. */
  buckets?: ReadonlySet<string>
  /** Only these CP codes, storage and delivery alike; absent = every one the service may use. */
  cpCodes?: ReadonlySet<number>
}

/** Shorter ones work, and are warned of. */
const goodSecretLength = 16
const namePattern = /^[\w.@:+ -]{1,64}$/

/** The hash under which a secret is known. */
export const hashSecret = (secret: string): Buffer => createHash('sha256').update(secret).digest()

/** `name:secret,name:secret`: tokens with every scope. Faults and warnings name the entry, never its secret. */
export function parseTokenList (text: string, faults: string[], warnings: string[] = []): Token[] {
  return text.split(',').map(entry => entry.trim()).filter(entry => entry !== '').flatMap((entry, index) => {
    const colon = entry.indexOf(':')
    const name = entry.slice(0, colon)
    const secret = entry.slice(colon + 1)
    const fault = colon < 1 || secret === ''
      ? `entry ${index + 1} is not of the form name:secret`
      : !namePattern.test(name)
          ? `entry ${index + 1} has a name with characters other than letters, digits and ._@:+-`
          : undefined
    if (fault === undefined && secret.length < goodSecretLength) warnings.push(`API_TOKENS: the secret of "${name}" is shorter than ${goodSecretLength} characters, and may be guessed`)
    if (fault === undefined) return [{ name, sha256: hashSecret(secret), scopes: new Set(scopes) }]
    faults.push(`API_TOKENS: ${fault}`)
    return []
  })
}

/**
 * The file of narrower tokens: YAML `[{name, sha256, scopes, expires?, buckets?, cpCodes?}]`. A file that holds the list
 * form instead (`name:secret,…`) is read as such. Faults never quote the file.
 */
export function parseTokenFile (text: string, faults: string[], warnings: string[] = []): Token[] {
  // Failsafe: a hash of digits only must not become a number.
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: true, logLevel: 'silent' })
  const [error] = document.errors
  if (error !== undefined) {
    const at = error.linePos?.[0]
    faults.push(`API_TOKENS_FILE: is not valid YAML${at === undefined ? '' : ` at line ${at.line}, column ${at.col}`}`)
    return []
  }
  const content: unknown = document.toJS()
  if (typeof content === 'string') return parseTokenList(content, faults, warnings)
  if (!Array.isArray(content)) {
    faults.push('API_TOKENS_FILE: is no list; write entries such as "- { name: ci, sha256: <hex>, scopes: [sync, read] }"')
    return []
  }
  return content.flatMap((entry: unknown, index) => {
    const wrong: string[] = []
    const token = readEntry(entry, wrong)
    const name = token?.name ?? `entry ${index + 1}`
    faults.push(...wrong.map(each => `API_TOKENS_FILE: ${name}: ${each}`))
    return token === undefined || wrong.length > 0 ? [] : [token]
  })
}

const members = ['name', 'sha256', 'scopes', 'expires', 'buckets', 'cpCodes']

function readEntry (entry: unknown, wrong: string[]): Token | undefined {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    wrong.push('is no mapping of name, sha256 and scopes')
    return undefined
  }
  const { name, sha256, scopes: given, expires, buckets, cpCodes } = entry as Record<string, unknown>
  for (const member of Object.keys(entry)) if (!members.includes(member)) wrong.push(`has a member that is none of ${members.join(', ')}`)
  if (typeof name !== 'string' || !namePattern.test(name)) {
    wrong.push('name is missing or has characters other than letters, digits and ._@:+-')
    return undefined
  }
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256)) wrong.push('sha256 is not 64 hex digits: write the output of "printf %s \\"$SECRET\\" | sha256sum"')
  const named = readList(given)
  if (named === undefined || named.some(each => !(scopes as readonly string[]).includes(each))) wrong.push(`scopes must be a list of ${scopes.join(', ')}`)
  const expiresAt = typeof expires === 'string' && /^\d{4}-\d{2}-\d{2}([Tt ].*)?$/.test(expires) ? new Date(expires) : undefined
  if (expires !== undefined && (expiresAt === undefined || Number.isNaN(expiresAt.getTime()))) wrong.push('expires is no date such as 2027-01-31 or 2027-01-31T12:00:00Z')
  if (buckets !== undefined && readList(buckets) === undefined) wrong.push('buckets must be a list of names')
  if (cpCodes !== undefined && !(readList(cpCodes) ?? ['']).every(each => /^[1-9]\d*$/.test(each))) wrong.push('cpCodes must be a list of numbers')
  return {
    name,
    sha256: Buffer.from(String(sha256), 'hex'),
    scopes: new Set(named as Scope[] | undefined),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(buckets === undefined ? {} : { buckets: new Set(readList(buckets)) }),
    ...(cpCodes === undefined ? {} : { cpCodes: new Set(readList(cpCodes)?.map(Number)) })
  }
}

function readList (value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every(each => typeof each === 'string') ? value : undefined
}
