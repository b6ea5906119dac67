import Type, { type TProperties, type TSchema } from 'typebox'
import type { Rule } from '../../mapping.ts'

/** What names a rule, a target or credentials: it stands in jobs, metrics and the names of queues. */
const namePattern = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
const nameWords = 'must be a name: letters, digits, ".", "_" and "-", beginning with a letter or digit, 63 at most'
/** `patternErrorMessage` is what editors, and our own faults, say where the pattern does not match. */
const text = (description: string, options: object = {}) => Type.Optional(Type.String({ description, minLength: 1, maxLength: 1024, ...options }))
const name = (description: string, options: object = {}) => text(description, { pattern: namePattern, patternErrorMessage: nameWords, ...options })
const choice = (description: string, values: string[], value?: string) =>
  Type.Optional(Type.String({ description, enum: values, ...(value === undefined ? {} : { default: value }) }))
const list = (items: TSchema, description: string, options: object = {}) =>
  Type.Optional(Type.Array(items, { description, uniqueItems: true, maxItems: 1000, ...options }))
const cpCode = (description: string) => Type.Integer({ description, minimum: 1, maximum: 2_147_483_647 })
const strict = <T extends TProperties>(properties: T, required: string[], description: string, options: object = {}) =>
  Type.Unsafe<object>({ ...Type.Object(properties, { additionalProperties: false, description, ...options }), required })
const named = (items: TSchema, description: string) =>
  Type.Optional(Type.Unsafe<object>({ type: 'object', description, default: {}, patternProperties: { [namePattern]: items }, additionalProperties: false, patternErrorMessage: nameWords }))

/** One entry of `targets`. */
export const TargetSchema = strict({
  hostname: text('host of the storage group, `example-nsu.akamaihd.net`; an `http://` origin for emulators, refused when `NODE_ENV=production`', {
    pattern: '^(http://)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$',
    patternErrorMessage: 'must be a bare host name such as example-nsu.akamaihd.net (or http://host:port, for emulators)'
  }),
  keyName: text('the upload account', { pattern: '^[^, ]+$', patternErrorMessage: 'must hold no comma and no space' }),
  keyFile: text('file that holds its HTTP API key; a relative path begins at the folder of this file'),
  cpCodes: list(cpCode('a storage CP code'), 'storage CP codes that rules and requests may name; the first is the default of its rules', { minItems: 1 }),
  writesPerSecond: Type.Optional(Type.Number({ description: 'ceiling of uploads and deletes over all replicas, in place of `NS_WRITES_PER_SECOND`', exclusiveMinimum: 0, maximum: 10_000 }))
}, ['hostname', 'keyName', 'keyFile', 'cpCodes'], 'a NetStorage upload account')

/** One entry of `edgegrids`. */
export const EdgegridSchema = strict({
  edgerc: text('path of an `.edgerc` file; a relative one begins at the folder of this file'),
  section: text('its section', { default: 'default' }),
  accountSwitchKey: text('the account to act for, `1-5C0YLB:1-8BYUX`; else what the section says')
}, ['edgerc'], 'an EdgeGrid API client')

/** The member `metadata` of a rule. */
export const MetadataSchema = strict({
  contentEncoding: choice('objects with a `Content-Encoding`, which NetStorage does not keep: `refuse` (the job fails) or `ignore` (the bytes are copied as they are)', ['refuse', 'ignore'], 'refuse'),
  redirect: choice('objects that are website redirects, which NetStorage cannot serve: `refuse` or `ignore`', ['refuse', 'ignore'], 'refuse')
}, [], 'what becomes of metadata that NetStorage does not keep', { default: {} })

/** The member `purge` of a rule. */
export const PurgeSchema = strict({
  by: choice('what is purged after a change: its URLs (`url`), all content of CP codes (`cpcode`), cache tags (`tag`) or nothing (`none`)', ['url', 'cpcode', 'tag', 'none']),
  urls: list(Type.String({ minLength: 1, maxLength: 4096 }), 'templates of the URLs, or ARLs, that show the object, with `{key}` or `{keyWithoutPrefix}`: `https://www.example.com/{key}`', { examples: [['https://www.example.com/{key}']] }),
  cpCodes: list(cpCode('a delivery CP code'), 'delivery CP codes: cached content is filed under the code of its property, usually not the storage one'),
  tags: list(Type.String({ minLength: 1, maxLength: 1024 }), 'cache tags; they may hold `{key}` or `{keyWithoutPrefix}`, filled with the key as it is'),
  spelling: choice('how keys are written in URLs: `both` purges the two spellings `rfc3986` and `browser` where they differ', ['both', 'rfc3986', 'browser'], 'both'),
  indexDocuments: list(Type.String({ minLength: 1, maxLength: 255, pattern: '^[^/]+$', patternErrorMessage: 'must be a file name without a slash' }), 'file names that also show their folder: `a/index.html` purges `a/` too', { default: ['index.html'] }),
  action: choice('`invalidate` (asks the origin whether it changed) or `delete` (drops); an object that vanished from S3 is always deleted by its URLs', ['invalidate', 'delete'], 'invalidate'),
  network: choice('`production` or `staging`', ['production', 'staging'], 'production'),
  edgegrid: name('which credentials of `edgegrids`', { default: 'default' })
}, ['by'], 'how the edge is freshened after a change: { by: url, urls: ["https://www.example.com/{key}"] }, or { by: none } for not at all')

/** One entry of `rules`. */
export const RuleSchema = strict({
  name: name('names the rule in jobs and logs; no two have the same'),
  bucket: text('the S3 bucket', { maxLength: 255 }),
  prefix: text('keys that begin with it, literally; of the rules that take a key, the one with the longest prefix wins, the first of equals', { minLength: 0, default: '' }),
  include: list(Type.String({ minLength: 1, maxLength: 1024 }), 'globs, held against the whole key: one must take it. `**` stands for any number of folders, `*` and `?` stay within one, `{a,b}` and `[a-z]` choose. Absent: any key', { default: [], examples: [['**/*.js']] }),
  exclude: list(Type.String({ minLength: 1, maxLength: 1024 }), 'globs, likewise: none may take it', { default: [], examples: [['**/*.map']] }),
  target: name('which account of `targets`', { default: 'default' }),
  cpCode: Type.Optional(cpCode('storage CP code; one of its target\'s, else its first')),
  path: text('template of the path below the CP code, without a leading slash, with `{key}` or `{keyWithoutPrefix}`', { default: '{key}', examples: ['web/{key}'] }),
  deletes: choice('what vanished from S3 is deleted on NetStorage (`propagate`) or left there (`ignore`)', ['propagate', 'ignore'], 'propagate'),
  etagIsMd5: choice('`auto` takes the ETag for an MD5 where S3 says that it is one; `never` hashes every object while it streams', ['auto', 'never'], 'auto'),
  metadata: Type.Optional(MetadataSchema),
  purge: PurgeSchema
}, ['name', 'bucket', 'purge'], 'what happens to the objects of a bucket under a prefix')

/** The whole of a RULES_FILE. */
export const RulesFileSchema = strict({
  $schema: text('where editors find the schema of this file, for JSON'),
  targets: named(TargetSchema, 'NetStorage upload accounts by their name; that of the environment (`NS_*`) is `default` unless one here has that name'),
  edgegrids: named(EdgegridSchema, 'EdgeGrid API clients by their name; that of the environment (`AO_*`) is `default` unless one here has that name'),
  rules: Type.Array(RuleSchema, { description: 'the rules', minItems: 1, maxItems: 10_000 })
}, ['rules'], 'which objects go where, and what is purged for them')

/** A rule as written, after its defaults. */
export type FileRule = Omit<Rule, 'cpCode'> & { cpCode?: number }

/** A RULES_FILE after its defaults: what `RulesFileSchema` lets through. */
export interface RulesFile {
  targets: Record<string, { hostname: string, keyName: string, keyFile: string, cpCodes: number[], writesPerSecond?: number }>
  edgegrids: Record<string, { edgerc: string, section: string, accountSwitchKey?: string }>
  rules: FileRule[]
}
