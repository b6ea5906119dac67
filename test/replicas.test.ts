import { sql } from 'kysely'
import t from 'tap'
import { bucket, cpCode, startSandbox } from '../sandbox/sandbox.ts'
import { syntheticHashes } from '../sandbox/s3/synthetic.ts'
import { wake } from '../src/jobs/lanes/lanes.ts'
import { openQueues } from '../src/jobs/lanes/wake-queues.ts'
import type { Job } from '../src/schemas.ts'
import { postgres } from '../src/store/postgres.ts'
import { startPostgres } from './postgres-server.ts'
import { startProcess, until } from './process.ts'

t.setTimeout(300_000)
const server = await startPostgres()
if (server === undefined) {
  t.plan(0, 'PostgreSQL is not installed')
  process.exit()
}
const sandbox = await startSandbox()
const { s3, netstorage, fastPurge } = sandbox
const env = { ...sandbox.env, DATABASE_URL: server.url, PURGE_DELAY_SECONDS: '0', PURGE_REPEAT_SECONDS: '0', NS_MIN_REWRITE_SECONDS: '0' }
const start = (role: string) => startProcess({ ...env, ROLE: role }, { script: './replica.ts' })

// Both at once, on a database that holds nothing yet.
const web = start('web')
const worker = start('worker')
const replicas = [web, worker]
const store = await postgres({ url: server.url, log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => {
  for (const replica of replicas) replica.kill('SIGKILL')
  await Promise.all(replicas.map(async replica => await replica.exited))
  await store.close()
  await sandbox.close()
  await server.stop()
})
const origin = await web.origin
const workerOrigin = await worker.origin
// pg-boss takes no queue with a heartbeat under ten seconds, and each job has that of its queue.
await sql`update pgboss.queue set heartbeat_seconds = 3`.execute(store.kysely)

async function sync (at: string, key: string, { waitSeconds = 0, force = false } = {}) {
  const answer = await fetch(`${at}/sync`, { method: 'POST', headers: { 'content-type': 'application/json', prefer: `wait=${waitSeconds}` }, body: JSON.stringify({ bucket, key, force }) })
  return { status: answer.status, job: await answer.json() as Job }
}
const wait = async (at: string, id: string): Promise<Job> => await (await fetch(`${at}/jobs/${id}`, { headers: { prefer: 'wait=55' } })).json() as Job

await t.test('a web replica accepts and waits for what a worker does, which serves health and metrics only', async t => {
  await s3.put(bucket, 'roles.txt', 'x')
  t.match(await sync(origin, 'roles.txt', { waitSeconds: 55 }), { status: 200, job: { state: 'succeeded', outcome: 'uploaded' } })
  for (const path of ['/livez', '/readyz', '/metrics']) t.equal((await fetch(workerOrigin + path)).status, 200, path)
  for (const path of ['/jobs', '/objects?bucket=x&key=y', '/docs', '/openapi.yaml']) t.equal((await fetch(workerOrigin + path)).status, 404, path)
  t.equal((await sync(workerOrigin, 'roles.txt')).status, 404)
})

await t.test('a replica that was frozen in the middle of an upload cannot commit when it thaws', async t => {
  const path = `/${cpCode}/frozen.bin`
  const sizeBytes = 3 * 1024 * 1024
  s3.putSynthetic(bucket, 'frozen.bin', { sizeBytes, seed: 1 })
  s3.faults.add({ times: 1, match: { method: 'GET', path: `/${bucket}/frozen.bin` }, slow: { bytesPerSecond: 1024 * 1024 } })
  const { job } = await sync(origin, 'frozen.bin')
  await until(() => netstorage.uploading().includes(path), 'the worker uploads')
  worker.kill('SIGSTOP')
  s3.putSynthetic(bucket, 'frozen.bin', { sizeBytes, seed: 2 })

  replicas.push(start('all'))
  t.match(await wait(await (replicas[2] as typeof web).origin, job.id), { state: 'succeeded', outcome: 'uploaded' })
  t.ok(netstorage.uploading().includes(path), 'the connection of the frozen one still stands')
  worker.kill('SIGCONT')
  await until(() => netstorage.uploading().length === 0, 'the thawed one gives up')
  await until(() => worker.output().includes('another worker took this lane over'), 'and says so')

  const { md5, sha256 } = syntheticHashes(2, sizeBytes)
  const uploads = netstorage.log.filter(entry => entry.name === path && entry.action === 'upload')
  t.ok(uploads.filter(entry => entry.status === 200).every(entry => entry.md5 === md5), 'only what took over was stored')
  t.equal(uploads.at(-1)?.status, 0, 'what the thawed one still sent was not')
  t.equal(netstorage.store.get(path)?.sha256, sha256)
  t.match(await wait(origin, job.id), { state: 'succeeded', md5 })
})

await t.test('200 jobs over 40 keys through two replicas: never two uploads at once on a path', async t => {
  const other = await (replicas[2] as typeof web).origin
  for (let n = 0; n < 40; n++) await s3.put(bucket, `many/${n}.txt`, `object ${n}`)
  const before = netstorage.log.length
  const jobs = await Promise.all(Array.from({ length: 200 }, async (_, n) => await sync(n % 3 === 0 ? origin : other, `many/${n % 40}.txt`, { force: true })))
  const done = await Promise.all(jobs.map(async ({ job }) => await wait(origin, job.id)))
  t.same(done.filter(job => job.state !== 'succeeded'), [])
  // By the other side's own record: no upload begins before the one before it on that path has ended.
  const uploads = Map.groupBy(netstorage.log.slice(before).filter(entry => entry.action === 'upload'), entry => entry.name)
  t.equal(uploads.size, 40)
  for (const [name, runs] of uploads) {
    const inOrder = runs.sort((a, b) => a.startedAt - b.startedAt)
    t.notOk(inOrder.some((run, n) => n > 0 && run.startedAt < (inOrder[n - 1]?.finishedAt ?? 0)), name)
    const last = runs.at(-1)
    t.ok(fastPurge.purges().some(purge => purge.at >= (last?.finishedAt ?? Infinity) && purge.objects?.includes(`https://www.example.com${name.replace(`/${cpCode}`, '')}`)), `${name} is purged after its last upload`)
  }
  const workers = [worker, replicas[2] as typeof web].map(({ output }) => (output().match(/"key":"many\/.*?"uploaded"/g) ?? []).length)
  t.ok(workers.every(count => count > 0), `both worked: ${workers.join(' and ')}`)
})

await t.test('two transactions that call the same lanes in opposite order wait one way only', async t => {
  const target = 'crosswise'
  await openQueues(store, [target])
  const [hasFirst, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const one = store.withTx(async tx => {
    await wake(store.boss, tx, [{ target, lane: 'a' }])
    hasFirst.resolve()
    await mayGoOn.promise
    await wake(store.boss, tx, [{ target, lane: 'b' }])
  })
  await hasFirst.promise
  const other = store.withTx(async tx => { await wake(store.boss, tx, [{ target, lane: 'b' }, { target, lane: 'a' }]) })
  const ends = Promise.allSettled([one, other])
  await until(async () => (await sql`select from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%insert into pgboss.%'`.execute(store.kysely)).rows.length > 0, 'the other waits')
  mayGoOn.resolve()
  t.same(await ends, [{ status: 'fulfilled', value: undefined }, { status: 'fulfilled', value: undefined }])
})
