import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import Type, { type Static } from 'typebox'

const text = (description: string, options: object = {}) => Type.Optional(Type.String({ description, ...options }))
const count = (description: string, value: number, maximum = 1_000_000, minimum = 0) =>
  Type.Integer({ description, default: value, minimum, maximum })
const seconds = (description: string, value: number, minimum = 0) =>
  Type.Number({ description, default: value, minimum, maximum: 86_400 })
const choice = <const T extends string[]>(description: string, values: T, value: T[number]) =>
  Type.Unsafe<T[number]>(Type.String({ description, default: value, enum: values }))
const cpCodes = '^[ ,]*([1-9][0-9]{0,8} *(,[ ,]*|$))*$'

/** What a pattern asks for, in words. */
const patternWords: Record<string, string> = {
  '^https?://': 'must be a URL that begins with https:// or http://',
  '^postgres(ql)?://': 'must be a URL that begins with postgres://',
  '^[^:]+:.+$': 'must be of the form user:secret',
  '^[1-9][0-9]{0,8}$': 'must be a CP code, a number such as 123456',
  [cpCodes]: 'must be CP codes, numbers such as 123456,123457'
}

/** Every variable of the environment, with its meaning: the README's table is held equal to this. */
export const EnvironmentSchema = Type.Object({
  PORT: count('port to listen on', 8080, 65_535),
  HOST: Type.String({ description: 'address to listen on', default: '127.0.0.1' }),
  PUBLIC_URL: text('how callers reach the service; makes links absolute', { pattern: '^https?://' }),
  API_TOKENS: text('comma list of `name:secret`, bearer tokens with every scope; the file may hold narrower ones, see docs/api.md; `none` = open to all; empty = loopback only'),
  DATABASE_URL: text('PostgreSQL; empty = embedded database in `DATA_DIR`', { pattern: '^postgres(ql)?://' }),
  DATA_DIR: Type.String({ description: 'folder of the embedded database', default: './data' }),
  EDGEFERRY_IMAGE: text('`1` in the container image: `DATA_DIR` must then be a mount point'),
  DATA_EPHEMERAL: text('`1` = in the image, accept that the embedded database dies with the container'),
  ROLE: choice('`all`, `web` (accepts, runs no jobs) or `worker` (runs jobs, serves health and metrics)', ['all', 'web', 'worker'], 'all'),
  AWS_REGION: text('region of the buckets; credentials come by the AWS SDK\'s own chain'),
  AWS_ENDPOINT_URL_S3: text('another S3 server (path style then)', { pattern: '^https?://' }),
  RULES_FILE: text('YAML or JSON file of rules, in place of the single rule that `S3_BUCKETS`, `NS_CP` and `PURGE_*` make; see `docs/rules.md`'),
  S3_BUCKETS: text('comma list of buckets that calls may name (required without `RULES_FILE`)'),
  SNS_TOPIC_ARNS: text('comma list of topics whose messages are obeyed; empty = `/sns` refuses all'),
  SNS_BASIC_AUTH: text('`user:secret` that SNS must present; allows raw delivery', { pattern: '^[^:]+:.+$' }),
  AWS_ENDPOINT_URL_SNS: text('an SNS emulator: certificates and confirmations go to that origin only', { pattern: '^https?://' }),
  NS_HOSTNAME: text('NetStorage host, `example-nsu.akamaihd.net` (required, unless `RULES_FILE` names every target)'),
  NS_KEYNAME: text('NetStorage upload account (likewise)'),
  NS_KEY: text('its HTTP API key (likewise)'),
  NS_CP: text('default **storage** CP code, the upload directory (likewise)', { pattern: '^[1-9][0-9]{0,8}$' }),
  NS_CP_CODES: text('comma list of further storage CP codes that requests may name', { pattern: cpCodes }),
  NS_WRITES_PER_SECOND: count('ceiling of uploads and deletes per storage group and second, over all replicas; after a start or a refusal fewer, then more again (above 10000: no ceiling)', 25, 1_000_000, 1),
  NS_READS_PER_SECOND: count('the same for `stat` and other questions', 400, 1_000_000, 1),
  NS_DIGEST: choice('for bodies whose MD5 is not known: `trailer` (hash while streaming, signed trailer) or `prehash` (read twice)', ['trailer', 'prehash'], 'trailer'),
  NS_MIN_REWRITE_SECONDS: seconds('least time between two uploads to one path: faster overwrites may never settle on the replicas', 5),
  VERIFY_TIMEOUT_SECONDS: seconds('how long `stat` may lag before an upload counts as unverified', 120, 1),
  UPLOAD_CONCURRENCY: count('objects uploaded at once per process, while as many more are opened; two more, small and just changed, overtake a backlog', 8, 256, 1),
  STALL_TIMEOUT_SECONDS: seconds('silence that ends an attempt', 30, 1),
  RETRY_HOURS: Type.Number({ description: 'how long a job is retried', default: 72, minimum: 0, maximum: 8760 }),
  DELETE_LIMIT_PER_MINUTE: count('more deletes than this, caused by events, are held for an operator', 100),
  AO_API_HOST: text('EdgeGrid host (also `AKAMAI_HOST`)'),
  AO_CLIENT_TOKEN: text('EdgeGrid client token (also `AKAMAI_CLIENT_TOKEN`)'),
  AO_CLIENT_SECRET: text('EdgeGrid client secret (also `AKAMAI_CLIENT_SECRET`)'),
  AO_ACCESS_TOKEN: text('EdgeGrid access token (also `AKAMAI_ACCESS_TOKEN`)'),
  AKAMAI_HOST: text('see `AO_API_HOST`'),
  AKAMAI_CLIENT_TOKEN: text('see `AO_CLIENT_TOKEN`'),
  AKAMAI_CLIENT_SECRET: text('see `AO_CLIENT_SECRET`'),
  AKAMAI_ACCESS_TOKEN: text('see `AO_ACCESS_TOKEN`'),
  AKAMAI_EDGERC: text('path of an `.edgerc` file, instead of the four above'),
  AKAMAI_EDGERC_SECTION: Type.String({ description: 'its section', default: 'default' }),
  AKAMAI_ACCOUNT_KEY: text('account switch key'),
  PURGE_BY: Type.Optional(Type.Unsafe<'url' | 'cpcode' | 'none'>(Type.String({ description: '`url`, `cpcode` or `none` (`url` if `PURGE_URLS` is set)', enum: ['url', 'cpcode', 'none'] }))),
  PURGE_URLS: text('comma list of URL templates, `https://www.example.com/{key}`'),
  PURGE_CP_CODES: text('comma list of **delivery** CP codes for `PURGE_BY=cpcode` (`NS_CP`) and `PURGE_ESCALATE_SECONDS`', { pattern: cpCodes }),
  PURGE_NETWORK: choice('`production` or `staging`', ['production', 'staging'], 'production'),
  PURGE_ACTION: choice('`invalidate` or `delete`', ['invalidate', 'delete'], 'invalidate'),
  PURGE_DELAY_SECONDS: seconds('wait between verified upload and purge, for replication', 5),
  PURGE_REPEAT_SECONDS: seconds('a second purge that long after the first; 0 = none', 30),
  PURGE_BUDGET: Type.Number({ description: 'share of the account\'s purge limits to use; the rest is left to other tools', default: 0.8, minimum: 0.01, maximum: 1 }),
  PURGE_COALESCE_MS: count('how long a purge waits for others to share its request', 1000, 60_000),
  PURGE_CPCODE_LIMIT_PER_HOUR: count('event-driven purges per CP code and hour; more are merged into the next', 6, 1000, 1),
  PURGE_ESCALATE_SECONDS: seconds('when URLs would take longer than this to purge, invalidate `PURGE_CP_CODES` instead; 0 = never', 0),
  PURGE_HOSTS: text('comma list of host names that `/purge {urls}` may name (those of the templates)'),
  LOG_LEVEL: choice('`fatal`, `error`, `warn`, `info`, `debug` or `silent`', ['fatal', 'error', 'warn', 'info', 'debug', 'silent'], 'info'),
  SHUTDOWN_TIMEOUT_SECONDS: seconds('how long running copies may finish after SIGTERM', 25),
  JOB_RETENTION_DAYS: count('how long finished jobs are kept', 30, 3650, 1),
  NODE_ENV: text('`production` refuses emulators')
})

/** The environment after its defaults. */
export type Environment = Static<typeof EnvironmentSchema>

/** Variables whose value may come from the file named by `X_FILE`. */
export const secrets = ['SNS_BASIC_AUTH', 'API_TOKENS', 'DATABASE_URL', 'NS_KEY', 'AO_CLIENT_TOKEN', 'AO_CLIENT_SECRET', 'AO_ACCESS_TOKEN',
  'AKAMAI_CLIENT_TOKEN', 'AKAMAI_CLIENT_SECRET', 'AKAMAI_ACCESS_TOKEN'] as const

/**
 * The variables that concern us: empty ones count as unset, secrets may come from files, defaults are filled in. What is
 * wrong is added to `faults`, and never shows a value.
 */
export function readEnvironment (env: NodeJS.ProcessEnv, faults: string[]): Environment {
  const raw: Record<string, unknown> = {}
  for (const name of Object.keys(EnvironmentSchema.properties)) {
    if (env[name] !== undefined && env[name] !== '') raw[name] = env[name]
  }
  for (const name of secrets) {
    const file = env[`${name}_FILE`]
    if (file === undefined || file === '') continue
    if (raw[name] !== undefined) {
      faults.push(`${name} and ${name}_FILE are both set: choose one`)
      continue
    }
    try {
      raw[name] = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      faults.push(`${name}_FILE: ${(error as Error).message}`)
    }
  }
  const validate = new Ajv({ allErrors: true, coerceTypes: true, useDefaults: true, allowUnionTypes: true }).compile(EnvironmentSchema)
  if (!validate(raw)) {
    const named = new Set<string>()
    for (const error of validate.errors ?? []) {
      const name = error.instancePath.slice(1)
      if (named.has(name)) continue
      named.add(name)
      const allowed = (EnvironmentSchema.properties as Record<string, { enum?: string[] }>)[name]?.enum
      faults.push(`${name} ${allowed === undefined ? patternWords[String(error.params['pattern'])] ?? error.message : `must be one of ${allowed.join(', ')}`}`)
    }
  }
  for (const name of ['PUBLIC_URL', 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL_SNS'] as const) {
    const value = raw[name]
    if (typeof value === 'string' && /^https?:/.test(value) && !URL.canParse(value)) faults.push(`${name} is no URL: it must be one such as https://example.com`)
  }
  return raw as unknown as Environment
}

/** The entries of a comma list. */
export function listOf (value: string | undefined): string[] {
  return (value ?? '').split(',').map(each => each.trim()).filter(each => each !== '')
}
