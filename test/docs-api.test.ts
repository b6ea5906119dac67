import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { bucket, cpCode, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'
import { readDocument } from './openapi-check.ts'

/** A command of the page, how it says it ends, and what of the answer it shows. */
interface Example { command: string, ends: number, shows: object | undefined }

const text = readFileSync(new URL('../docs/api.md', import.meta.url), 'utf8')
const examples = [...text.matchAll(/```sh\n([^]*?)```\n(?:```json\n([^]*?)```)?/g)].map(([, command = '', shows]): Example =>
  ({ command, ends: Number(/^# ends with (\d+)\n/.exec(command)?.[1] ?? 0), shows: shows === undefined ? undefined : JSON.parse(shows) as object }))

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const dir = await makeDataDir(t)
const sandbox = await startSandbox()
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: dir, PURGE_REPEAT_SECONDS: '0', API_TOKENS: 'ops:the-secret-of-the-operators', DELETE_LIMIT_PER_MINUTE: '0', PURGE_CP_CODES: '654321' }), { logger: false })
const called = new Set<string>()
app.addHook('onRequest', async ({ method, routeOptions }) => { called.add(`${method.toLowerCase()} ${routeOptions.url?.replace(':id', '{id}')}`) })
await app.listen({ port: 0 })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
const headers = { authorization: 'Bearer the-secret-of-the-operators', prefer: 'wait=30' }
const sync = async (key: string) => await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key }, headers })

t.test('what the page finds in S3 and among the jobs is there', async () => {
  for (const key of ['css/site.css', 'css/late.css', 'css/old.css', 'video/intro.mp4']) await sandbox.s3.put(bucket, key, `${key} as it is\n`)
  sandbox.s3.putSynthetic(bucket, 'video/slow.mp4', { sizeBytes: 60_000_000, seed: 5, etag: 'multipart' })
  sandbox.netstorage.faults.add({ match: { action: 'upload', path: `/${cpCode}/video/slow.mp4` }, slow: { bytesPerSecond: 2_000_000 } })
  for (const key of ['css/old.css', 'fonts/gone.woff2']) await sync(key)
  await sandbox.s3.delete(bucket, 'css/old.css')
})

t.test('every command of the page ends as it says and answers what it shows', async t => {
  // One shell for all, since later commands use what earlier ones found out.
  const script = examples.map(({ command }) => `${command}\nprintf '\\036%d\\037' $?\n`).join('')
  const child = spawn('bash', ['-c', script], { cwd: dir, env: { PATH: process.env['PATH'], EDGEFERRY: origin, SECRET: 'the-secret-of-the-operators' }, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', chunk => { output += String(chunk) })
  await new Promise(resolve => { child.once('close', resolve) })
  const ends = output.split('\x1f').slice(0, -1).map(each => each.split('\x1e'))
  t.equal(ends.length, examples.length)
  for (const [index, { command, ends: status, shows }] of examples.entries()) {
    const [answer = '', ended] = ends[index] ?? []
    t.equal(Number(ended), status, `${command}${answer}`)
    if (shows !== undefined) t.match(JSON.parse(answer), shows, command)
  }
})

t.test('no operation is missing from the page', async t => {
  const operations = Object.entries(readDocument().paths).flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`))
  t.same(operations.filter(operation => !called.has(operation)), [])
})
