import { execFileSync, spawn } from 'node:child_process'
import { account, bucket, cpCode, type Servers } from './servers.ts'
import type { Cost } from './loop.ts'

/** The version of the rclone on PATH. */
export function rcloneVersion (): string {
  return /rclone (\S+)/.exec(execFileSync('rclone', ['version'], { encoding: 'utf8' }))?.[1] ?? 'of unknown version'
}

/** The peer: `rclone copy` of all below a prefix, with as many transfers at once, checks and all. */
export async function runRclone (servers: Servers, prefix: string, into: string, concurrency: number): Promise<Cost> {
  const env = {
    PATH: process.env['PATH'],
    HOME: '/nonexistent',
    RCLONE_CONFIG: '/dev/null',
    RCLONE_CONFIG_SOURCE_TYPE: 's3',
    RCLONE_CONFIG_SOURCE_PROVIDER: 'Other',
    RCLONE_CONFIG_SOURCE_ENDPOINT: servers.s3.origin,
    RCLONE_CONFIG_SOURCE_ACCESS_KEY_ID: 'sandbox-access-key',
    RCLONE_CONFIG_SOURCE_SECRET_ACCESS_KEY: 'sandbox-secret-key',
    RCLONE_CONFIG_SOURCE_LIST_VERSION: '2',
    RCLONE_CONFIG_TARGET_TYPE: 'netstorage',
    RCLONE_CONFIG_TARGET_PROTOCOL: 'http',
    RCLONE_CONFIG_TARGET_HOST: `${new URL(servers.netstorage.origin).host}/${cpCode}/${into}`,
    RCLONE_CONFIG_TARGET_ACCOUNT: account.keyName,
    RCLONE_CONFIG_TARGET_SECRET: execFileSync('rclone', ['obscure', account.key], { encoding: 'utf8' }).trim()
  }
  const command = `TIMEFORMAT='%R %U %S'; time rclone copy source:${bucket}/${prefix} target:${prefix} --transfers ${concurrency} --checkers ${concurrency} --retries 1 -q`
  const child = spawn('bash', ['-c', command], { env: env as NodeJS.ProcessEnv, stdio: ['ignore', 'inherit', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', chunk => { said += String(chunk) })
  const code = await new Promise(resolve => { child.once('close', resolve) })
  const [, real, user, system] = /([\d.]+) ([\d.]+) ([\d.]+)\n$/.exec(said) ?? []
  if (code !== 0 || real === undefined) throw new Error(`rclone ended with code ${String(code)}: ${said}`)
  return { ms: Number(real) * 1000, cpuMs: (Number(user) + Number(system)) * 1000 }
}
