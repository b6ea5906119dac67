import { createClient } from '@hey-api/openapi-ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { bucket, startSandbox } from '../sandbox/sandbox.ts'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

/** What somebody writes who has only the generated client: it must compile as it is, and work. */
const program = `
import { cancelJob, followJob, getJob, getObjects, getReady, listJobs, purgeObjects, receiveEvents, retryJobs, syncObject } from './index.ts'
import { client } from './client.gen.ts'

export async function run (baseUrl: string, secret: string, bucket: string) {
  client.setConfig({ baseUrl, auth: ({ scheme }) => scheme === 'bearer' ? secret : undefined })
  const { data: ready } = await getReady({ query: { verbose: '' } })
  const synced = await syncObject({ body: { bucket, key: 'a.css', labels: ['client'] }, headers: { prefer: 'wait=30', 'idempotency-key': 'k' } })
  if (synced.data === undefined) throw new Error(synced.error.detail)
  const { id } = synced.data
  const job = await getJob({ path: { id } })
  const { data: list } = await listJobs({ query: { state: ['succeeded', 'failed'], label: 'client', since: job.data?.createdAt ?? '', limit: 5 } })
  const { data: where } = await getObjects({ query: { bucket, key: 'a.css' } })
  const purge = await purgeObjects({ body: { urls: ['https://www.example.com/a.css'], network: 'staging' }, headers: { prefer: 'wait=30' } })
  const late = await cancelJob({ path: { id } })
  const count = await retryJobs({ body: { filter: { state: ['failed'] }, dryRun: true } })
  const refused = await syncObject({ body: { bucket: 'other', key: 'a.css' } })
  const taken = await receiveEvents({ body: { Records: [] } })
  const names: string[] = []
  const { stream } = await followJob({ path: { id }, onSseEvent: event => { if (event.event !== undefined) names.push(event.event) } })
  for await (const _ of stream) break
  const live: boolean | undefined = where?.items[0]?.live
  const outcome: 'uploaded' | 'deleted' | 'unchanged' | 'purged' | 'merged' | 'ignored' | undefined = synced.data.outcome
  return { ready, outcome, etag: job.data?.etag, steps: job.data?.timeline?.length, listed: list?.items.map(each => each.id), live, network: purge.data?.purge?.network, late: late.error?.code, count: count.data?.count, refused: refused.error?.code, verdicts: taken.data?.verdicts, names, id }
}
`

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const dataDir = await makeDataDir(t)
const sandbox = await startSandbox()
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: dataDir, PURGE_REPEAT_SECONDS: '0', API_TOKENS: 'ops:the-secret-of-the-operators' }), { logger: false })
await app.listen({ port: 0 })
const dir = mkdtempSync(join(tmpdir(), 'edgeferry-client-'))
t.teardown(async () => {
  rmSync(dir, { recursive: true })
  await app.close()
  await sandbox.close()
})

/** What a strict compiler says of the program and the client. */
function compile (file: string): string {
  const checked = ts.createProgram([file], { noEmit: true, strict: true, target: ts.ScriptTarget.ES2024, lib: ['lib.es2024.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'], types: [], module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, allowImportingTsExtensions: true, verbatimModuleSyntax: true, skipLibCheck: true })
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(checked), { getCurrentDirectory: () => dir, getCanonicalFileName: name => name, getNewLine: () => '\n' })
}

t.test('a client generated from openapi.yaml compiles, and works against the running service', async t => {
  await createClient({
    input: fileURLToPath(new URL('../openapi.yaml', import.meta.url)),
    output: { path: dir, module: { extension: '.ts' } },
    plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
    logs: { level: 'silent' }
  })
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }')
  const file = join(dir, 'program.ts')
  writeFileSync(file, program)
  t.equal(compile(file), '')
  await sandbox.s3.put(bucket, 'a.css', 'x')
  const { run } = await import(pathToFileURL(file).href) as { run: (...args: string[]) => Promise<Record<string, unknown> & { id: string }> }
  const seen = await run(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, 'the-secret-of-the-operators', bucket)
  t.match(seen, { ready: { ready: true }, outcome: 'uploaded', etag: /^\w{32}$/, listed: [seen.id], live: true, network: 'staging', late: 'wrong_state', count: 0, refused: 'bucket_not_allowed', verdicts: {}, names: ['succeeded'] })
  t.ok(Number(seen['steps']) > 3)
})
