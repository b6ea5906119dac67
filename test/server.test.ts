import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { bucket, startSandbox } from '../sandbox/sandbox.ts'
import type { Job } from '../src/schemas.ts'
import { makeDataDir } from './data-dir.ts'
import { startProcess, until } from './process.ts'

t.setTimeout(300_000)
const dir = await makeDataDir(t)
const sandbox = await startSandbox()
t.teardown(async () => { await sandbox.close() })
const { s3, netstorage } = sandbox
const env = { ...sandbox.env, DATA_DIR: dir, PURGE_DELAY_SECONDS: '0', PURGE_REPEAT_SECONDS: '0', NS_MIN_REWRITE_SECONDS: '0' }

const get = async (url: string, headers: Record<string, string> = {}) => {
  const answer = await fetch(url, { headers })
  return { status: answer.status, connection: answer.headers.get('connection'), body: await answer.json() as Job & { ready?: boolean, checks?: object[] } }
}
async function sync (origin: string, key: string): Promise<Job> {
  await s3.put(bucket, key, `the bytes of ${key}`)
  const answer = await fetch(`${origin}/sync`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ bucket, key }) })
  return await answer.json() as Job
}

t.test('an environment that is not complete is told all at once', async t => {
  const service = startProcess({ PORT: 'eighty', PURGE_NETWORK: 'moon' })
  t.equal(await service.exited, 1)
  for (const name of ['PORT', 'PURGE_NETWORK', 'S3_BUCKETS', 'NS_HOSTNAME', 'NS_KEYNAME', 'NS_KEY', 'NS_CP', 'PURGE_URLS', 'AO_API_HOST', 'AO_CLIENT_TOKEN', 'AO_CLIENT_SECRET', 'AO_ACCESS_TOKEN']) {
    t.match(service.output(), new RegExp(`^ {2}- ${name}\\b`, 'm'), name)
  }
  t.notMatch(service.output(), /^ +at /m, 'words, and no stack')
})

t.test('a database that cannot be used is told in words, without its password', async t => {
  const service = startProcess({ ...env, DATABASE_URL: 'postgres://edgeferry:a-database-password@127.0.0.1:1/edgeferry' })
  t.equal(await service.exited, 1)
  t.match(service.output(), /^PostgreSQL at 127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED.*Check DATABASE_URL/m)
  t.notMatch(service.output(), /a-database-password|^ +at /m)
})

t.test('SIGTERM lets running copies finish while requests are served, and the rest goes on at the next start', async t => {
  const service = startProcess({ ...env, UPLOAD_CONCURRENCY: '1' }, { covered: true })
  const origin = await service.origin

  const second = startProcess(env)
  t.equal(await second.exited, 1)
  t.match(second.output(), /^The data folder .* is in use by another process\. Stop that one first/m)

  const hold = Promise.withResolvers<void>()
  // One slot for all, and two for what is new and small.
  netstorage.faults.add({ times: 3, match: { action: 'upload' }, until: hold.promise })
  const [running] = await Promise.all(['running', 'running too', 'running as well'].map(async name => await sync(origin, `stop/${name}.txt`))) as [Job, Job, Job]
  await until(() => netstorage.faults.rules.length === 0, 'every slot is taken')
  const queued = await sync(origin, 'stop/queued.txt')
  const waiting = get(`${origin}/jobs/${queued.id}`, { prefer: 'wait=55' })

  service.kill('SIGTERM')
  await until(async () => (await get(`${origin}/readyz`)).status === 503, 'it is known to be going')
  t.match(await get(`${origin}/readyz?verbose`), { connection: 'close', body: { ready: false, checks: [{ name: 'database', ok: true }, { name: 'stopping', ok: false }] } })
  service.kill('SIGTERM')
  t.match(await get(`${origin}/jobs/${running.id}`), { status: 200, body: { state: 'uploading' } })
  const late = await sync(origin, 'stop/late.txt')
  t.equal(late.state, 'queued', 'what is asked for now is stored')
  hold.resolve()
  t.equal(await service.exited, 0)
  t.match(await waiting, { status: 202, body: { id: queued.id, state: 'queued' } }, 'who waits is answered')
  t.equal(netstorage.log.filter(entry => entry.action === 'upload').length, 3)
  t.notMatch(service.output(), /"level":(40|50|60)/, 'nothing odd is logged')

  const next = startProcess({ ...env, SHUTDOWN_TIMEOUT_SECONDS: '1' })
  const there = await next.origin
  for (const { id } of [running, queued, late]) t.match(await get(`${there}/jobs/${id}`, { prefer: 'wait=55' }), { status: 200, body: { state: 'succeeded' } })
  t.equal(netstorage.log.filter(entry => entry.name.endsWith('/running.txt') && entry.action === 'upload').length, 1, 'what had finished is not done again')

  t.test('a copy that hangs is given back in time, and done at the next start', async t => {
    netstorage.faults.add({ times: 1, match: { action: 'upload' }, hang: 'before' })
    const hung = await sync(there, 'stop/hung.txt')
    await until(() => netstorage.faults.rules.length === 0, 'a copy hangs')
    next.kill('SIGTERM')
    t.equal(await next.exited, 0)
    const last = startProcess(env)
    t.match(await get(`${await last.origin}/jobs/${hung.id}`, { prefer: 'wait=55' }), { status: 200, body: { state: 'succeeded', attempts: 1 } })
    last.kill('SIGINT')
    t.equal(await last.exited, 0)
  })
})

t.test('a port that is taken is told in words', async t => {
  const other = createServer()
  await new Promise<void>(resolve => { other.listen(0, '127.0.0.1', resolve) })
  const { port } = other.address() as { port: number }
  const service = startProcess({ ...env, PORT: String(port) })
  t.equal(await service.exited, 1)
  t.match(service.output(), new RegExp(`^Port ${port} of 127\\.0\\.0\\.1 is taken by another process\\. .*PORT`, 'm'))
  other.close()
})

t.test('an address that is not this machine\'s is told in words', async t => {
  const service = startProcess({ ...env, HOST: '192.0.2.1', API_TOKENS: 'ops:a-long-secret-for-ops' })
  t.equal(await service.exited, 1)
  t.match(service.output(), /^The service cannot listen on 192\.0\.2\.1, port 0: .*EADDRNOTAVAIL.*Set HOST to an address of this machine/m)
  t.notMatch(service.output(), /\n +at /, 'without a stack')
})

t.test('a database that dies takes the process with it', async t => {
  const service = startProcess({ ...env, DATA_DIR: await makeDataDir(t) }, { script: './store/panic.ts' })
  t.equal(await service.exited, 70)
  t.match(service.output(), /the embedded database died/)
})

t.test('a folder of another PostgreSQL is refused in words', async t => {
  writeFileSync(`${dir}/database/PG_VERSION`, '17\n')
  const service = startProcess(env)
  t.equal(await service.exited, 1)
  t.match(service.output(), /cannot be opened: it was made by PostgreSQL 17, and this version of the service opens 18 only\. .*DATA_DIR/)
})
