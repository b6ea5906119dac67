import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { EnvironmentSchema, secrets, type Environment } from './environment.ts'
import { parseTokenFile, parseTokenList, type Token } from './access/tokens.ts'
import type { Rule } from './mapping.ts'
import { parseEdgerc, type EdgeGridCredentials } from './purge/credentials.ts'

/** One NetStorage upload account. */
export interface Target {
  /** Bare host name; an `http://` origin for emulators. */
  hostname: string
  keyName: string
  key: string
  /** Storage CP codes that requests and rules may name; the first is the default. */
  cpCodes: number[]
}

/** All the service needs to know, read once. */
export interface Config {
  host: string
  port: number
  publicUrl: string | undefined
  /** `open` = anyone may call; an empty list = loopback only. */
  tokens: 'open' | Token[]
  role: 'all' | 'web' | 'worker'
  databaseUrl: string | undefined
  dataDir: string
  s3: { region: string, endpoint: string | undefined, buckets: string[] }
  /** NetStorage upload accounts by their name. */
  targets: Record<string, Target>
  /** EdgeGrid API clients by their name. */
  edgegrids: Record<string, EdgeGridCredentials>
  rules: Rule[]
  purge: { delayMs: number, repeatMs: number, hosts: string[] }
  verifyTimeoutMs: number
  concurrency: number
  stallTimeoutMs: number
  retryMs: number
  deleteLimitPerMinute: number
  logLevel: Environment['LOG_LEVEL']
  shutdownTimeoutMs: number
  retentionDays: number
  /** What is odd but allowed: logged once at start. */
  warnings: string[]
}

/** Everything that is wrong with the environment, in words that say what to set. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: string[]
  constructor (faults: string[]) {
    super(`The environment is not complete or not valid:\n${faults.map(each => `  - ${each}`).join('\n')}`)
    this.faults = faults
  }
}

/**
 * Reads the environment. Throws one ConfigError that names every fault at once; its text never holds a secret's value.
 */
export function loadConfig (env: NodeJS.ProcessEnv): Config {
  const faults: string[] = []
  const warnings: string[] = []
  const raw = readVariables(env, faults)
  const validate = new Ajv({ allErrors: true, coerceTypes: true, useDefaults: true, allowUnionTypes: true }).compile(EnvironmentSchema)
  if (!validate(raw)) {
    const named = new Set<string>()
    for (const error of validate.errors ?? []) {
      const name = error.instancePath.slice(1)
      if (named.has(name)) continue
      named.add(name)
      const allowed = (EnvironmentSchema.properties as Record<string, { enum?: string[] }>)[name]?.enum
      faults.push(`${name} ${allowed === undefined ? error.message : `must be one of ${allowed.join(', ')}`}`)
    }
  }
  const e = raw as unknown as Environment
  const need = (name: 'S3_BUCKETS' | 'NS_HOSTNAME' | 'NS_KEYNAME' | 'NS_KEY' | 'NS_CP', what: string): string => {
    const value = e[name]
    if (value === undefined) faults.push(`${name} is not set: ${what}`)
    return value ?? ''
  }
  const buckets = list(need('S3_BUCKETS', 'name the bucket to copy from, such as S3_BUCKETS=example-assets'))
  const hostname = need('NS_HOSTNAME', 'your NetStorage host, such as example-nsu.akamaihd.net')
  const keyName = need('NS_KEYNAME', 'the name of your NetStorage upload account')
  const key = need('NS_KEY', 'the HTTP API key of that upload account (or NS_KEY_FILE)')
  const cpCode = Number(need('NS_CP', 'the CP code of your upload directory, such as NS_CP=123456'))
  if (/[, ]/.test(keyName)) faults.push('NS_KEYNAME must hold no comma and no space')
  if (e.ROLE !== 'all' && e.DATABASE_URL === undefined) faults.push(`ROLE=${e.ROLE} needs DATABASE_URL: an embedded database belongs to one process`)
  const by = e.PURGE_BY ?? (e.PURGE_URLS === undefined ? undefined : 'url')
  if (by === undefined) {
    faults.push('PURGE_URLS is not set: give the URL of your objects on the CDN, such as https://www.example.com/{key}, or choose PURGE_BY=cpcode (purges all content of a CP code) or PURGE_BY=none')
  }
  const urls = list(e.PURGE_URLS ?? '')
  if (by === 'url' && urls.length === 0) faults.push('PURGE_BY=url needs PURGE_URLS, such as https://www.example.com/{key}')
  for (const url of urls) {
    if (!/^https?:\/\/[^/{]+\/.*\{(key|keyWithoutPrefix)\}/.test(url)) faults.push(`PURGE_URLS: "${url}" is no URL template such as https://www.example.com/{key}`)
  }
  const edgegrid = by === 'none' && !hasEdgegrid(e) ? undefined : readEdgegrid(e, faults)
  if (e.NODE_ENV === 'production') {
    for (const [name, value] of [['NS_HOSTNAME', hostname], ['AO_API_HOST', edgegrid?.host ?? '']]) {
      if (value?.startsWith('http://')) faults.push(`${name} starts with http://, which is for emulators only and refused when NODE_ENV=production`)
    }
  }
  let purgeCpCodes = list(e.PURGE_CP_CODES ?? '').map(Number)
  if (by === 'cpcode' && purgeCpCodes.length === 0) {
    purgeCpCodes = [cpCode]
    warnings.push('PURGE_CP_CODES is not set: purging the storage CP code, though cached content is usually filed under the delivery CP code of the property')
  }
  const tokens = readTokens(e, env['API_TOKENS_FILE'] !== undefined && env['API_TOKENS_FILE'] !== '', faults)
  if (tokens === 'open') warnings.push('API_TOKENS=none: anyone who can reach this service can use it')
  if (tokens.length === 0 && !['127.0.0.1', '::1', 'localhost'].includes(e.HOST)) {
    faults.push(`API_TOKENS is not set: without tokens the service listens on loopback only, and HOST is ${e.HOST}`)
  }
  if (e.EDGEFERRY_IMAGE === '1' && e.DATABASE_URL === undefined && e.DATA_EPHEMERAL !== '1' && !isMountPoint(e.DATA_DIR)) {
    faults.push(`DATA_DIR (${e.DATA_DIR}) is not a mounted volume: mount one there, set DATABASE_URL, or accept the loss with DATA_EPHEMERAL=1`)
  }
  if (faults.length > 0) throw new ConfigError(faults)
  const rules = buckets.map((bucket): Rule => ({
    name: bucket,
    bucket,
    prefix: '',
    target: 'default',
    cpCode,
    path: '{key}',
    deletes: 'propagate',
    etagIsMd5: 'auto',
    metadata: { contentEncoding: 'refuse', redirect: 'refuse' },
    purge: { by: by ?? 'none', urls, cpCodes: purgeCpCodes, spelling: 'both', indexDocuments: ['index.html'], action: e.PURGE_ACTION, network: e.PURGE_NETWORK, edgegrid: 'default' }
  }))
  const hosts = list(e.PURGE_HOSTS ?? '')
  return {
    host: e.HOST,
    port: e.PORT,
    publicUrl: e.PUBLIC_URL?.replace(/\/$/, ''),
    tokens,
    role: e.ROLE,
    databaseUrl: e.DATABASE_URL,
    dataDir: e.DATA_DIR,
    s3: { region: e.AWS_REGION ?? 'us-east-1', endpoint: e.AWS_ENDPOINT_URL_S3, buckets },
    targets: { default: { hostname, keyName, key, cpCodes: [...new Set([cpCode, ...list(e.NS_CP_CODES ?? '').map(Number)])] } },
    edgegrids: edgegrid === undefined ? {} : { default: edgegrid },
    rules,
    purge: {
      delayMs: e.PURGE_DELAY_SECONDS * 1000,
      repeatMs: e.PURGE_REPEAT_SECONDS * 1000,
      hosts: hosts.length > 0 ? hosts : [...new Set(urls.map(url => new URL(url.replace(/[{}]/g, '')).hostname))]
    },
    verifyTimeoutMs: e.VERIFY_TIMEOUT_SECONDS * 1000,
    concurrency: e.UPLOAD_CONCURRENCY,
    stallTimeoutMs: e.STALL_TIMEOUT_SECONDS * 1000,
    retryMs: e.RETRY_HOURS * 3_600_000,
    deleteLimitPerMinute: e.DELETE_LIMIT_PER_MINUTE,
    logLevel: e.LOG_LEVEL,
    shutdownTimeoutMs: e.SHUTDOWN_TIMEOUT_SECONDS * 1000,
    retentionDays: e.JOB_RETENTION_DAYS,
    warnings
  }
}

/** The variables that concern us, empty ones dropped, secrets read from their files. */
function readVariables (env: NodeJS.ProcessEnv, faults: string[]): Record<string, unknown> {
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
  return raw
}

function list (value: string): string[] {
  return value.split(',').map(each => each.trim()).filter(each => each !== '')
}

function hasEdgegrid (e: Environment): boolean {
  return [e.AO_API_HOST, e.AKAMAI_HOST, e.AKAMAI_EDGERC].some(value => value !== undefined)
}

function readEdgegrid (e: Environment, faults: string[]): EdgeGridCredentials | undefined {
  if (e.AKAMAI_EDGERC !== undefined && e.AO_API_HOST === undefined && e.AKAMAI_HOST === undefined) {
    try {
      const found = parseEdgerc(readFileSync(e.AKAMAI_EDGERC, 'utf8'), e.AKAMAI_EDGERC_SECTION)
      return e.AKAMAI_ACCOUNT_KEY === undefined ? found : { ...found, accountSwitchKey: e.AKAMAI_ACCOUNT_KEY }
    } catch (error) {
      faults.push(`AKAMAI_EDGERC: ${(error as Error).message}`)
      return undefined
    }
  }
  const pick = (name: string, ours: string | undefined, theirs: string | undefined): string => {
    const value = ours ?? theirs
    if (value === undefined) faults.push(`${name} is not set: EdgeGrid credentials are needed to purge (four AO_* variables, or AKAMAI_EDGERC)`)
    return value ?? ''
  }
  return {
    host: pick('AO_API_HOST', e.AO_API_HOST, e.AKAMAI_HOST),
    clientToken: pick('AO_CLIENT_TOKEN', e.AO_CLIENT_TOKEN, e.AKAMAI_CLIENT_TOKEN),
    clientSecret: pick('AO_CLIENT_SECRET', e.AO_CLIENT_SECRET, e.AKAMAI_CLIENT_SECRET),
    accessToken: pick('AO_ACCESS_TOKEN', e.AO_ACCESS_TOKEN, e.AKAMAI_ACCESS_TOKEN),
    ...(e.AKAMAI_ACCOUNT_KEY === undefined ? {} : { accountSwitchKey: e.AKAMAI_ACCOUNT_KEY })
  }
}

function readTokens (e: Environment, fromFile: boolean, faults: string[]): Config['tokens'] {
  if (e.API_TOKENS?.trim() === 'none') return 'open'
  return (fromFile ? parseTokenFile : parseTokenList)(e.API_TOKENS ?? '', faults)
}

/** Whether a folder is a mount point: its device differs from its parent's, as the kernel's table of mounts tells. */
function isMountPoint (dir: string): boolean {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8').split('\n').some(line => line.split(' ')[4] === dir.replace(/(.)\/$/, '$1'))
  } catch {
    return false
  }
}
