import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { scratch } from './scratch.ts'

/** A PostgreSQL of its own for one test file. */
export interface PostgresServer { url: string, stop: () => Promise<void> }

const root = '/usr/lib/postgresql'

/** Where Debian keeps the newest server, if it is installed. */
function binaries (): string | undefined {
  if (!existsSync(root)) return undefined
  return readdirSync(root).sort((a, b) => Number(b) - Number(a)).map(version => join(root, version, 'bin')).find(dir => existsSync(join(dir, 'initdb')))
}

async function freePort (): Promise<number> {
  return await new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => { resolve(port) })
    })
  })
}

/**
 * Starts Debian's PostgreSQL in a temporary folder, or uses TEST_DATABASE_URL. Undefined where there is none, which in
 * CI is a failure: there the tests must meet a real server.
 */
export async function startPostgres (): Promise<PostgresServer | undefined> {
  const given = process.env['TEST_DATABASE_URL']
  if (given !== undefined && given !== '') return { url: given, stop: async () => {} }
  const bin = binaries()
  if (bin === undefined) {
    if (process.env['CI'] !== undefined) throw new Error('PostgreSQL is not installed, and CI must test against it: apt-get install postgresql')
    return undefined
  }
  // PostgreSQL refuses to run as root.
  const user = process.getuid?.() === 0 ? { uid: Number(execFileSync('id', ['-u', 'postgres']).toString()), gid: Number(execFileSync('id', ['-g', 'postgres']).toString()) } : {}
  const dir = scratch('postgres')
  if (user.uid !== undefined) chownSync(dir, user.uid, user.gid)
  const options = { ...user, stdio: 'ignore' as const, env: { ...process.env, NODE_OPTIONS: '' }, cwd: dir }
  execFileSync(join(bin, 'initdb'), ['-D', join(dir, 'data'), '-A', 'trust', '-U', 'postgres', '--no-sync'], options)
  const port = await freePort()
  const child = spawn(join(bin, 'postgres'), ['-D', join(dir, 'data'), '-p', String(port), '-k', dir, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'], options)
  const exited = new Promise<void>(resolve => { child.once('exit', () => { resolve() }) })
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client({ connectionString: url })
    try {
      await client.connect()
      await client.end()
      break
    } catch (error) {
      if (attempt > 100) throw error
      await new Promise(resolve => { setTimeout(resolve, 100) })
    }
  }
  return {
    url,
    async stop () {
      child.kill('SIGINT')
      await exited
      rmSync(dir, { recursive: true })
    }
  }
}
