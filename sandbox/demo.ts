import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startSandboxProcess, type SandboxProcess } from './process.ts'
import { syntheticHashes } from './s3/synthetic.ts'
import { bucket, cpCode } from './sandbox.ts'

/**
 * `npm run demo`: the main job for real, on parts that need no account. Objects of four kinds travel from S3 to
 * NetStorage and out of the CDN's cache; then everything stays for `curl`. With `--exit` it ends, with status 0 only
 * if NetStorage holds exactly those bytes and every purge came after its upload.
 */
const settleSeconds = 1
const megabyte = 1024 * 1024
const objects: Array<{ key: string, what: string, body?: string, sizeBytes?: number }> = [
  { key: 'css/site.css', what: 'a small file', body: 'body { color: teal }\n' },
  { key: 'odd/100% tea + crème é日本.txt', what: 'a name with space, +, % and unicode', body: 'an odd name, literally\n' },
  { key: 'empty.bin', what: 'an empty file', body: '' },
  { key: 'video/film.mp4', what: '200 MB, uploaded to S3 in parts', sizeBytes: 200 * megabyte }
]

const startedAt = performance.now()
const say = (text: string): void => { process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(2).padStart(7)} s  ${text}\n`) }
const sizeOf = (bytes: number): string => bytes < megabyte ? `${bytes} bytes` : `${(bytes / megabyte).toFixed(0)} MB`

interface Job {
  id: string
  state: string
  outcome?: string
  sentBytes?: number
  sizeBytes?: number
  md5?: string
  error?: { detail: string }
  purge?: { objects: string[], requests: Array<{ purgeId: string, acceptedAt: string }> }
  timeline: Array<{ at: string, step: string, detail: string }>
}

async function freePort (wanted: number): Promise<number> {
  const free = await new Promise<boolean>(resolve => {
    const server = createServer().once('error', () => { resolve(false) }).listen(wanted, '127.0.0.1', () => { server.close(() => { resolve(true) }) })
  })
  return free ? wanted : await freePort(wanted + 1)
}

async function startService (env: Record<string, string>, port: number, dir: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../src/server.ts', import.meta.url))], {
    env: { ...process.env, ...env, PORT: String(port), DATA_DIR: dir, PURGE_DELAY_SECONDS: String(settleSeconds), LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'inherit', 'inherit']
  })
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the service ended with code ${child.exitCode}`)
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(answer => answer.ok, () => false)
    if (ready) return child
    await new Promise(resolve => { setTimeout(resolve, 50) })
  }
}

/** Syncs one object and tells each step as it happens. */
async function follow (origin: string, { key, what, sizeBytes }: typeof objects[number]): Promise<Job> {
  say(`── ${key}  (${what})`)
  const answer = await fetch(`${origin}/sync`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ bucket, key }) })
  let job = await answer.json() as Job
  if (answer.status !== 202) throw new Error(`POST /sync answered ${answer.status}: ${JSON.stringify(job)}`)
  let told = 0
  let sent = 0
  for (;;) {
    for (const { step, detail } of job.timeline.slice(told)) say(`   ${step.padEnd(14)} ${step === 'uploaded' ? `${sizeOf(job.sizeBytes ?? 0)}, MD5 ${job.md5}, seen by stat` : detail}`)
    told = job.timeline.length
    if (job.state === 'uploading' && job.sentBytes !== undefined && job.sentBytes > sent) {
      sent = job.sentBytes
      say(`   ${'progress'.padEnd(14)} ${sizeOf(sent)} of ${sizeOf(sizeBytes ?? 0)}`)
    }
    if (['succeeded', 'failed', 'held', 'cancelled'].includes(job.state)) return job
    await new Promise(resolve => { setTimeout(resolve, 100) })
    job = await (await fetch(`${origin}/jobs/${job.id}`)).json() as Job
  }
}

/** What is wrong with one object by the emulators' own records; undefined = it arrived and was purged in order. */
async function check (sandbox: SandboxProcess, { key, body, sizeBytes = 0 }: typeof objects[number], job: Job): Promise<string | undefined> {
  if (job.state !== 'succeeded') return `the job is ${job.state}: ${job.error?.detail ?? ''}`
  const name = `/${cpCode}/${key}`
  const sha256 = body === undefined ? syntheticHashes(1, sizeBytes).sha256 : createHash('sha256').update(body).digest('hex')
  const stored = await sandbox.call('object', name)
  if (stored?.sha256 !== sha256) return `NetStorage holds other bytes: SHA-256 ${stored?.sha256 ?? 'of nothing'} instead of ${sha256}`
  const log = (await sandbox.call('uploads')).filter(entry => entry.name === name && entry.status === 200)
  const upload = log.findLast(entry => entry.action === 'upload')
  const stat = log.findLast(entry => entry.action === 'stat')
  if (upload === undefined || stat === undefined || stat.startedAt < upload.finishedAt) return 'no stat came after the upload'
  const purges = await sandbox.call('purges')
  for (const url of job.purge?.objects ?? []) {
    const purge = purges.find(entry => entry.objects?.includes(url))
    if (purge === undefined || purge.at < stat.finishedAt) return `no purge of ${url} came after its upload was verified`
  }
  return job.purge === undefined ? 'nothing was purged' : undefined
}

const dir = mkdtempSync(join(tmpdir(), 'edgeferry-demo-'))
let service: ChildProcess | undefined
let sandbox: SandboxProcess | undefined
async function cleanUp (): Promise<void> {
  if (service !== undefined && service.exitCode === null) {
    const exited = new Promise(resolve => { service?.once('exit', resolve) })
    service.kill('SIGTERM')
    await exited
  }
  await sandbox?.close()
  rmSync(dir, { recursive: true, force: true })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { cleanUp().then(() => { process.exit(130) }) })

try {
  say('starting the sandbox: S3, SNS, NetStorage and Fast Purge on loopback, as strict as the real ones')
  sandbox = await startSandboxProcess()
  const port = await freePort(8080)
  const origin = `http://127.0.0.1:${port}`
  say('starting the service on an embedded database')
  service = await startService(sandbox.env, port, dir)
  say(`the service listens on ${origin}`)
  for (const { key, body, sizeBytes } of objects) {
    if (body !== undefined) await sandbox.call('put', bucket, key, body)
    else await sandbox.call('putSynthetic', bucket, key, { sizeBytes: sizeBytes ?? 0, seed: 1, etag: 'multipart' })
  }
  say(`S3 holds ${objects.length} objects in ${bucket}`)
  const faults: string[] = []
  for (const object of objects) {
    const job = await follow(origin, object)
    const fault = await check(sandbox, object, job)
    const ids = job.purge?.requests.map(request => request.purgeId).join(', ')
    say(fault === undefined ? `   ✓ NetStorage holds these bytes; purged ${job.purge?.objects.length} URL(s) afterwards as ${ids}` : `   ✗ ${fault}`)
    if (fault !== undefined) faults.push(`${object.key}: ${fault}`)
  }
  say(faults.length === 0
    ? `all ${objects.length} objects arrived, were verified, and were purged after that`
    : `${faults.length} of ${objects.length} objects did not arrive`)
  if (process.argv.includes('--exit')) {
    await cleanUp()
    process.exitCode = faults.length === 0 ? 0 : 1
  } else {
    process.stdout.write(`
Everything stays until Ctrl-C. Try:

  curl -s '${origin}/jobs?limit=5'
  curl -s -G '${origin}/objects' --data-urlencode bucket=${bucket} --data-urlencode key=css/site.css
  curl -s '${origin}/sync' -H 'content-type: application/json' -H 'prefer: wait=30' -d '{"bucket":"${bucket}","key":"css/site.css","force":true}'

${origin}/docs describes all of it.
`)
  }
} catch (error) {
  process.stderr.write(`the demo failed: ${(error as Error).message}\n`)
  await cleanUp()
  process.exitCode = 1
}
