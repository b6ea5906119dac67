import { readFileSync } from 'node:fs'
import { parseTokenFile, parseTokenList, type Token } from './access/tokens.ts'
import { listOf, readEnvironment, type Environment } from './environment.ts'
import { createRules, type Rules } from './rules/live.ts'
import { readRuleSet } from './rules/read.ts'
import { parseTopicArn } from './sns/topic.ts'

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
  s3: { region: string, endpoint: string | undefined }
  sns: { topicArns: string[], basicAuth: string | undefined, /** An emulator's. */ origin: string | undefined }
  /** The rules, and the accounts, buckets and hosts that go with them: they may change while the service runs. */
  rules: Rules
  purge: { delayMs: number, repeatMs: number, budget: number, coalesceMs: number, cpCodesPerHour: number, escalateMs: number }
  /** Ceilings per storage group, over all replicas. */
  budgets: { writesPerSecond: number, readsPerSecond: number }
  digest: 'trailer' | 'prehash'
  minRewriteMs: number
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
  const e = readEnvironment(env, faults)
  const reading = readRuleSet(e)
  faults.push(...reading.faults)
  warnings.push(...reading.warnings)
  if (e.ROLE !== 'all' && e.DATABASE_URL === undefined) faults.push(`ROLE=${e.ROLE} needs DATABASE_URL: an embedded database belongs to one process`)
  const topicArns = listOf(e.SNS_TOPIC_ARNS)
  for (const arn of topicArns) {
    if (parseTopicArn(arn) === undefined) faults.push(`SNS_TOPIC_ARNS: "${arn}" is no ARN of an SNS topic such as arn:aws:sns:us-east-1:123456789012:example-assets`)
  }
  if (e.NODE_ENV === 'production' && e.AWS_ENDPOINT_URL_SNS !== undefined) faults.push('AWS_ENDPOINT_URL_SNS is for emulators only and refused when NODE_ENV=production: unset it')
  const tokens = readTokens(e, env['API_TOKENS_FILE'] !== undefined && env['API_TOKENS_FILE'] !== '', faults, warnings)
  if (tokens === 'open') warnings.push('API_TOKENS=none: anyone who can reach this service can use it')
  if (tokens.length === 0 && !['127.0.0.1', '::1', 'localhost'].includes(e.HOST)) {
    faults.push(`API_TOKENS is not set: without tokens the service listens on loopback only, and HOST is ${e.HOST}`)
  }
  if (e.EDGEFERRY_IMAGE === '1' && e.DATABASE_URL === undefined && e.DATA_EPHEMERAL !== '1' && !isMountPoint(e.DATA_DIR)) {
    faults.push(`DATA_DIR (${e.DATA_DIR}) is not a mounted volume: mount one there, set DATABASE_URL, or accept the loss with DATA_EPHEMERAL=1`)
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return {
    host: e.HOST,
    port: e.PORT,
    publicUrl: e.PUBLIC_URL?.replace(/\/$/, ''),
    tokens,
    role: e.ROLE,
    databaseUrl: e.DATABASE_URL,
    dataDir: e.DATA_DIR,
    s3: { region: e.AWS_REGION ?? 'us-east-1', endpoint: e.AWS_ENDPOINT_URL_S3 },
    sns: { topicArns, basicAuth: e.SNS_BASIC_AUTH, origin: e.AWS_ENDPOINT_URL_SNS === undefined ? undefined : e.AWS_ENDPOINT_URL_SNS.replace(/\/+$/, '') },
    rules: createRules(reading.set),
    purge: {
      delayMs: e.PURGE_DELAY_SECONDS * 1000,
      repeatMs: e.PURGE_REPEAT_SECONDS * 1000,
      budget: e.PURGE_BUDGET,
      coalesceMs: e.PURGE_COALESCE_MS,
      cpCodesPerHour: e.PURGE_CPCODE_LIMIT_PER_HOUR,
      escalateMs: e.PURGE_ESCALATE_SECONDS * 1000
    },
    budgets: { writesPerSecond: e.NS_WRITES_PER_SECOND, readsPerSecond: e.NS_READS_PER_SECOND },
    digest: e.NS_DIGEST,
    minRewriteMs: e.NS_MIN_REWRITE_SECONDS * 1000,
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

function readTokens (e: Environment, fromFile: boolean, faults: string[], warnings: string[]): Config['tokens'] {
  if (e.API_TOKENS?.trim() === 'none') return 'open'
  return (fromFile ? parseTokenFile : parseTokenList)(e.API_TOKENS ?? '', faults, warnings)
}

/** Whether a folder is a mount point: its device differs from its parent's, as the kernel's table of mounts tells. */
function isMountPoint (dir: string): boolean {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8').split('\n').some(line => line.split(' ')[4] === dir.replace(/(.)\/$/, '$1'))
  } catch {
    return false
  }
}
