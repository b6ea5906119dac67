import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startNetStorage } from '../../sandbox/netstorage/server.ts'
import { bucket, startSandbox } from '../../sandbox/sandbox.ts'
import { buildApp } from '../../src/app.ts'
import { testConfig } from '../app.ts'
import { makeDataDir } from '../data-dir.ts'
import { startProcess, until } from '../process.ts'

const dataDir = await makeDataDir(t)
const dir = mkdtempSync(join(tmpdir(), 'edgeferry-reload-'))
const sandbox = await startSandbox()
const { s3, netstorage: first, fastPurge } = sandbox
const second = await startNetStorage({ accounts: [{ keyName: 'second', key: 'second-netstorage-key', cpCodes: [7] }] })
const client = { clientToken: 'second-client-token', clientSecret: 'second-client-secret', accessToken: 'second-access-token' }
fastPurge.clients.push(client)
writeFileSync(join(dir, 'second-key'), 'second-netstorage-key\n')
writeFileSync(join(dir, 'edgerc'), `[default]\nhost = ${fastPurge.origin}\nclient_token = ${client.clientToken}\nclient_secret = ${client.clientSecret}\naccess_token = ${client.accessToken}\n`)

/** Targets, credentials and rules; `default` is the sandbox's own of each. */
const targetSecond = `  second: { hostname: "${second.origin}", keyName: second, keyFile: second-key, cpCodes: [7] }`
const rule = (name: string, more: string) => `  - { name: ${name}, bucket: ${bucket}, ${more} }`
const urls = 'urls: ["https://www.example.com/{key}"]'
const file = join(dir, 'rules.yaml')
function write (targets: string[], rules: string[], edgegrids: string[] = []): void {
  writeFileSync(file, `targets:${targets.length === 0 ? ' {}' : ''}\n${targets.join('\n')}\nedgegrids:${edgegrids.length === 0 ? ' {}' : ''}\n${edgegrids.join('\n')}\nrules:\n${rules.join('\n')}\n`)
}
const whole = rule('whole', `purge: { by: url, ${urls} }`)

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const { S3_BUCKETS: _, PURGE_URLS: __, ...accounts } = sandbox.env
const variables = { ...accounts, RULES_FILE: file, S3_BUCKETS: '', PURGE_URLS: '', DATA_DIR: dataDir, PURGE_REPEAT_SECONDS: '0' }
write([], [whole])
const app = await buildApp(testConfig(variables), { logger: false })
t.teardown(async () => {
  await app.close()
  await Promise.all([sandbox.close(), second.close()])
  rmSync(dir, { recursive: true })
})

const reload = async () => await app.reload(() => testConfig(variables))
async function sync (key: string, more: object = {}, seconds = 30) {
  const answer = await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key, ...more }, headers: { prefer: `wait=${seconds}` } })
  return answer.json() as { id: string, state?: string, code?: string, detail?: string, job?: object }
}
const wait = async (id: string) => (await app.inject({ url: `/jobs/${id}`, headers: { prefer: 'wait=50' } })).json()
const checks = async () => (await app.inject('/readyz?verbose')).json().checks as Array<{ name: string, ok: boolean, detail?: string }>

t.test('new rules bring new accounts, and take the place of the old at once', async t => {
  await s3.put(bucket, 'a.css', 'a')
  await s3.put(bucket, 'new/b.css', 'b')
  t.match(await sync('a.css'), { state: 'succeeded', rule: 'whole', target: 'default' })
  t.same((await app.inject({ method: 'POST', url: '/sync', payload: { bucket: 'other', key: 'x' } })).json().code, 'bucket_not_allowed')
  write([targetSecond], [whole, rule('new', `prefix: new/, target: second, path: "web/{keyWithoutPrefix}", purge: { by: url, ${urls}, edgegrid: other }`), '  - { name: other, bucket: other, purge: { by: none } }'], ['  other: { edgerc: edgerc }'])
  t.ok(await reload())
  const usual = fastPurge.clients[0] as { grant?: boolean }
  usual.grant = false
  t.match(await sync('new/b.css'), { state: 'succeeded', rule: 'new', target: 'second', cpCode: 7, path: 'web/b.css' }, 'purged by its own credentials')
  delete usual.grant
  t.ok(second.store.get('/7/web/b.css'))
  t.match(await sync('a.css'), { state: 'succeeded', rule: 'whole', target: 'default' })
  t.equal((await app.inject({ method: 'POST', url: '/sync', payload: { bucket: 'other', key: 'x' } })).statusCode, 202)
  t.match(await checks(), [{ name: 'database' }, { name: 'stopping' }, { name: 'rules', ok: true }])
})

t.test('a secret that changed is read anew with the rules', async t => {
  const account = second.accounts[0] as { key: string }
  account.key = 'another-netstorage-key'
  client.clientSecret = 'another-client-secret'
  writeFileSync(join(dir, 'second-key'), 'another-netstorage-key\n')
  writeFileSync(join(dir, 'edgerc'), `[default]\nhost = ${fastPurge.origin}\nclient_token = ${client.clientToken}\nclient_secret = ${client.clientSecret}\naccess_token = ${client.accessToken}\n`)
  t.ok(await reload())
  t.match(await sync('new/b.css', { force: true }), { state: 'succeeded', outcome: 'uploaded' })
})

t.test('a faulty file changes nothing, and is told until it is mended', async t => {
  write([targetSecond], [rule('whole', 'purge: { by: urls }'), rule('whole', 'target: nowhere, purge: { by: none }')])
  t.notOk(await reload())
  t.notOk(await reload())
  const refusal = app.reloadRefusal()
  t.match(refusal?.faults, [/rules\.yaml:6:57: .*must be one of/, /:7:13: /, /:7:28: /, /:7:52: .*"nowhere"/])
  t.match((await checks()).find(each => each.name === 'rules'), { ok: false, detail: `since ${refusal?.since.toISOString()} what is written was read anew and refused, with 4 faults that the log names: the rules and tokens of before stay in force` })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  t.match((await app.inject('/metrics')).body, /edgeferry_reload_refused 1/)
  t.match(await sync('new/b.css'), { state: 'succeeded', rule: 'new' })
  write([targetSecond], [whole])
  t.ok(await reload())
  t.equal(app.reloadRefusal(), undefined)
  t.match((await checks()).find(each => each.name === 'rules'), { ok: true })
})

t.test('a copy that runs ends on the account it began with, though that is gone', async t => {
  write([targetSecond], [rule('held', `target: second, purge: { by: url, ${urls} }`)])
  t.ok(await reload())
  await s3.put(bucket, 'held.css', 'x')
  const gate = Promise.withResolvers<void>()
  const stopHolding = second.faults.add({ match: { action: 'upload' }, until: gate.promise })
  const { id } = await sync('held.css', {}, 0)
  await until(async () => (await wait0(id)).state === 'uploading', 'the upload runs')
  write([], [whole])
  t.ok(await reload())
  t.match(await sync('a.css'), { state: 'succeeded', target: 'default' })
  stopHolding()
  gate.resolve()
  t.match(await wait(id), { state: 'succeeded', target: 'second' })
  t.ok(second.store.get('/7/held.css'))
})
const wait0 = async (id: string) => (await app.inject(`/jobs/${id}`)).json() as { state: string }

t.test('what waits for a target that is gone goes where the rules want it now', async t => {
  // Nobody listens there, so whatever goes there is tried again and again.
  writeFileSync(join(dir, 'dead-key'), 'x')
  const dead = '  dead: { hostname: "http://127.0.0.1:1", keyName: dead, keyFile: dead-key, cpCodes: [9, 123456] }'
  write([dead], [rule('whole', `target: dead, cpCode: 123456, purge: { by: url, ${urls} }`)])
  t.ok(await reload())
  for (const key of ['moved.css', 'own.css', 'chosen.css']) await s3.put(bucket, key, key)
  const plain = await Promise.all([sync('moved.css', {}, 0), sync('moved.css', { force: true }, 0)])
  const own = await sync('own.css', { path: 'my/own.css' }, 0)
  const chosen = await sync('chosen.css', { cpCode: 9 }, 0)
  await until(async () => (await Promise.all([...plain, own, chosen].map(async ({ id }) => (await app.inject(`/jobs/${id}`)).json().attempts as number))).every(attempts => attempts > 0), 'each was tried')
  write([], [rule('renamed', `path: "web/{key}", purge: { by: url, ${urls} }`)])
  t.ok(await reload())
  for (const { id } of plain) t.match(await wait(id), { state: 'succeeded', rule: 'renamed', target: 'default', cpCode: 123456, path: 'web/moved.css' })
  t.match((await wait(plain[1].id)).timeline.map((each: { detail: string }) => each.detail).join('\n'), /the target dead is gone: by rule renamed to default, 123456\/web\/moved\.css/)
  t.match(await wait(own.id), { state: 'succeeded', target: 'default', path: 'my/own.css' }, 'a path that the caller chose stays')
  t.match((await wait(chosen.id)), { code: 'no_rule', status: 422, detail: /has no CP code 9/, job: { state: 'failed' } })
  for (const path of ['web/moved.css', 'my/own.css']) t.ok(first.store.get(`/123456/${path}`))
})

t.test('a job whose rule is gone meets another, or fails in words', async t => {
  write([], [rule('whole', `purge: { by: url, ${urls} }`), '  - { name: other, bucket: other, purge: { by: none } }'])
  t.ok(await reload())
  await s3.put(bucket, 'late.css', 'x')
  await s3.put(bucket, 'lost.css', 'x')
  const release = first.faults.add({ match: { action: 'upload' }, status: 503 })
  const [late, lost] = await Promise.all([sync('late.css', {}, 0), sync('lost.css', {}, 0)])
  await until(async () => (await Promise.all([late, lost].map(async ({ id }) => (await app.inject(`/jobs/${id}`)).json().attempts as number))).every(attempts => attempts > 0), 'both were tried')
  write([], [rule('late', `prefix: late, purge: { by: url, ${urls} }`)])
  t.ok(await reload())
  release()
  t.match(await wait(late.id), { state: 'succeeded' })
  t.match(await wait(lost.id), { code: 'no_rule', detail: /The rule "whole" is gone, and no other covers lost\.css in example-assets/, job: { state: 'failed' } })
})

t.test('SIGHUP makes the process read the file again', async t => {
  write([], [rule('whole', 'purge: { by: none }')])
  const service = startProcess({ ...sandbox.env, S3_BUCKETS: '', PURGE_URLS: '', RULES_FILE: file, DATA_DIR: await makeDataDir(t), DATABASE_URL: '' }, { covered: true })
  const origin = await service.origin
  const ask = async (key: string) => await (await fetch(`${origin}/sync`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ bucket, key }) })).json() as { rule?: string, code?: string }
  t.match(await ask('sub/x.css'), { rule: 'whole' })
  write([], [rule('sub', 'prefix: sub/, purge: { by: none }')])
  service.kill('SIGHUP')
  await until(() => service.output().includes('read anew what can change'), 'the rules are read')
  t.match(await ask('sub/x.css'), { rule: 'sub' })
  t.match(await ask('x.css'), { code: 'no_rule' })
  writeFileSync(file, 'rules: [')
  service.kill('SIGHUP')
  await until(() => service.output().includes('is refused'), 'the faulty file is refused')
  t.match(service.output(), /rules\.yaml:1:9: /)
  t.match(await ask('sub/y.css'), { rule: 'sub' })
  service.kill('SIGTERM')
  t.equal(await service.exited, 0)
})
