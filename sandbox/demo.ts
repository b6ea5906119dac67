import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findJob, follow, say, sizeOf } from './demo/account.ts'
import { check } from './demo/check.ts'
import { freePort, startService, stopService } from './demo/service.ts'
import { startSandboxProcess, type SandboxProcess } from './process.ts'
import { syntheticHashes } from './s3/synthetic.ts'
import { bucket } from './sandbox.ts'

/**
 * `npm run demo`: the main job for real, on parts that need no account. Changes in S3 travel by notification to
 * NetStorage and out of the CDN's cache, one is asked for by REST; then everything stays for `curl`. With `--exit` it
 * ends, with status 0 only if NetStorage equals S3 and every purge came after its upload.
 */
const settleSeconds = 1
const largeBytes = 200 * 1024 * 1024
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

interface Step { what: string, key: string, put?: string, large?: true, remove?: true, sync?: true, sha256: string | undefined }
const put = (what: string, key: string, text: string): Step => ({ what, key, put: text, sha256: sha256(text) })
const steps: Step[] = [
  put('PUT of a small file', 'css/site.css', 'body { color: teal }\n'),
  put('PUT under a name with space, +, % and unicode', 'odd/100% tea + crème é日本.txt', 'an odd name, literally\n'),
  put('PUT of an empty file', 'empty.bin', ''),
  { what: `${sizeOf(largeBytes)}, uploaded to S3 in parts`, key: 'video/film.mp4', large: true, sha256: syntheticHashes(1, largeBytes).sha256 },
  put('overwritten', 'css/site.css', 'body { color: rebeccapurple }\n'),
  { what: 'DELETE', key: 'empty.bin', remove: true, sha256: undefined },
  { what: 'asked for by REST, though nothing changed', key: 'css/site.css', sync: true, sha256: sha256('body { color: rebeccapurple }\n') }
]

const dir = mkdtempSync(join(tmpdir(), 'edgeferry-demo-'))
let service: ChildProcess | undefined
let sandbox: SandboxProcess | undefined
async function cleanUp (): Promise<void> {
  if (service !== undefined) await stopService(service)
  await sandbox?.close()
  rmSync(dir, { recursive: true, force: true })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { cleanUp().then(() => { process.exit(130) }) })

/** Brings a change about, and returns the job that deals with it. */
async function act (origin: string, { key, put, large, remove, sync }: Step, last: string | undefined): Promise<string> {
  if (put !== undefined) await sandbox?.call('put', bucket, key, put)
  if (large) await sandbox?.call('putSynthetic', bucket, key, { sizeBytes: largeBytes, seed: 1, etag: 'multipart' })
  if (remove) await sandbox?.call('delete', bucket, key)
  if (!sync) return await findJob(origin, bucket, key, last)
  const answer = await fetch(`${origin}/sync`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ bucket, key }) })
  const job = await answer.json() as { id: string }
  if (answer.status !== 202) throw new Error(`POST /sync answered ${answer.status}: ${JSON.stringify(job)}`)
  return job.id
}

try {
  say('starting the sandbox: S3, SNS, NetStorage and Fast Purge on loopback, as strict as the real ones')
  sandbox = await startSandboxProcess()
  const port = await freePort(8080)
  const origin = `http://127.0.0.1:${port}`
  say('starting the service on an embedded database')
  service = await startService({ ...sandbox.env, PORT: String(port), DATA_DIR: dir, PURGE_DELAY_SECONDS: String(settleSeconds), LOG_LEVEL: 'warn' })
  say(`the service listens on ${origin}`)
  await sandbox.call('subscribe', origin)
  say('it has confirmed its subscription to the topic that S3 tells of its changes')
  const faults: string[] = []
  const newest = new Map<string, string>()
  for (const step of steps) {
    say(`── ${step.key}  (${step.what})`)
    const changedAt = Date.now()
    const id = await act(origin, step, newest.get(step.key))
    newest.set(step.key, id)
    const job = await follow(origin, id)
    const fault = await check(sandbox, step.key, step.sha256, job)
    const ids = job.purge?.requests.map(request => request.purgeId).join(', ')
    const tookSeconds = (Date.parse(job.purge?.acceptedAt ?? '') - changedAt) / 1000
    say(fault === undefined ? `   ✓ NetStorage equals S3; ${job.purge?.objects.length} URL(s) purged afterwards as ${ids}, ${tookSeconds.toFixed(2)} s after the ${step.sync ? 'call' : 'change'}` : `   ✗ ${fault}`)
    if (fault !== undefined) faults.push(`${step.key}: ${fault}`)
  }
  say(faults.length === 0
    ? `all ${steps.length} changes arrived, were verified, and were purged after that (${settleSeconds} s of each is the wait for replication)`
    : `${faults.length} of ${steps.length} changes did not arrive`)
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
