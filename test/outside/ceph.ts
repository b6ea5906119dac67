import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { startSandbox } from '../../sandbox/sandbox.ts'
import type { Job } from '../../src/schemas.ts'
import { startProcess, until, type ServiceProcess } from '../process.ts'
import { startBalancer } from './ceph/balancer.ts'
import { createChanges, oddKeys, unmappableKeys } from './ceph/changes.ts'
import { startCluster, type Cluster } from './ceph/cluster.ts'
import { compare } from './ceph/compare.ts'
import { checkReading } from './ceph/reading.ts'
import { createTopic, notify } from './ceph/topics.ts'

/** `npm run test:ceph`: a real RADOS gateway's own notifications drive the service end to end, and it copies from that gateway. Status 0 only if all is well. */
const dir = mkdtempSync(join(tmpdir(), 'edgeferry-ceph-'))
const secret = 'the-secret-in-the-push-endpoint'
const [kept, told] = ['ceph-kept', 'ceph-told'] as const
const faults: string[] = []
const closers: Array<() => Promise<void>> = [async () => { rmSync(dir, { recursive: true, force: true }) }]
const say = (text: string): void => { process.stdout.write(`${text}\n`) }
const expect = (isSo: boolean, what: string): void => {
  say(`${isSo ? 'ok ' : 'NOT'} ${String(Math.round(performance.now() / 1000)).padStart(3)} s ${what}`)
  if (!isSo) faults.push(what)
}
const close = async (): Promise<void> => { for (const each of closers.splice(0).reverse()) await each() }
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { close().finally(() => { process.exit(1) }) })

let cluster: Cluster | undefined
try {
  await tellAll(cluster = await startCluster(dir))
} catch (error) {
  expect(false, error instanceof Error ? `${error.message}${error.cause instanceof Error ? `\n${error.cause.message}` : ''}` : String(error))
  const crash = cluster?.crash()
  if (crash !== undefined) say(`The gateway crashed:\n${crash}`)
} finally {
  await close()
}
say(faults.length === 0 ? 'all is well' : `${faults.length} faults:\n${faults.join('\n')}`)
process.exit(faults.length === 0 ? 0 : 1)

async function tellAll (cluster: Cluster): Promise<void> {
  closers.push(cluster.close)
  expect(true, `${cluster.version} serves S3 at ${cluster.origin}`)
  const [owner, stranger] = [await cluster.makeUser('owner'), await cluster.makeUser('stranger')]
  const wrong = await checkReading(cluster, owner, stranger)
  expect(wrong.length === 0, `every refusal is understood, and a read that is cut goes on${wrong.map(each => `\n    ${each}`).join('')}`)

  const sandbox = await startSandbox()
  closers.push(sandbox.close)
  const balancer = await startBalancer()
  closers.push(balancer.close)
  const client = new S3Client({ region: 'us-east-1', endpoint: cluster.origin, forcePathStyle: true, credentials: owner })
  closers.push(async () => { client.destroy() })
  for (const bucket of [kept, told]) {
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    const pushTo = `${balancer.origin}/events?token=${secret}`
    await notify(client, bucket, await createTopic(cluster.origin, owner, { name: bucket, pushTo, persistent: bucket === kept }))
  }

  let service: ServiceProcess | undefined
  let origin = ''
  const start = async (token: string): Promise<void> => {
    service = startProcess({
      ...sandbox.env,
      AWS_ACCESS_KEY_ID: owner.accessKeyId,
      AWS_SECRET_ACCESS_KEY: owner.secretAccessKey,
      AWS_ENDPOINT_URL_S3: cluster.origin,
      S3_BUCKETS: `${kept},${told}`,
      DATA_DIR: join(dir, 'data'),
      API_TOKENS: `ceph:${token}`,
      PURGE_DELAY_SECONDS: '0',
      PURGE_REPEAT_SECONDS: '0',
      NS_MIN_REWRITE_SECONDS: '0'
    })
    origin = await service.origin
    balancer.leadTo(origin)
  }
  /** What earlier processes counted, by verdict. */
  const verdicts: Record<string, number> = {}
  const stop = async (): Promise<void> => {
    for (const [, verdict = '', count] of (await (await fetch(`${origin}/metrics`)).text()).matchAll(/^edgeferry_events_total\{source="ceph-rgw",verdict="(\w+)"\} (\d+)$/mg)) verdicts[verdict] = (verdicts[verdict] ?? 0) + Number(count)
    balancer.leadTo(undefined)
    service?.kill('SIGTERM')
    await service?.exited
  }
  closers.push(async () => { service?.kill('SIGKILL'); await service?.exited })
  const ask = async (path: string, init: RequestInit = {}) => await (await fetch(origin + path, { ...init, headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...init.headers } })).json() as { items: Job[] }
  const statuses = (): Record<string, number> => balancer.passed.reduce<Record<string, number>>((counts, { status }) => ({ ...counts, [status]: (counts[status] ?? 0) + 1 }), {})
  const isLeftOut = (key: string): boolean => key.endsWith('/') || unmappableKeys.some(each => key.endsWith(each))
  const differences = async (): Promise<string[]> => await compare(client, [kept, told], sandbox, isLeftOut)
  const settled = async (what: string): Promise<void> => {
    let last: string[] = []
    await until(async () => {
      const running = (await ask('/jobs?state=queued&state=uploading&state=settling&state=purging&limit=1')).items.length
      last = running > 0 ? [`${running} jobs run`] : await differences()
      return last.length === 0
    }, what, 120_000, 250).catch(() => {})
    expect(last.length === 0, `${what}${last.map(each => `\n    ${each}`).join('')}`)
  }

  await start(secret)
  const [tell, keep] = [createChanges(client, told), createChanges(client, kept)]
  for (const key of [...oddKeys, ...unmappableKeys, 'folder/', 'empty.txt']) await tell.put(`told/${key}`, key.includes('empty') || key.endsWith('/') ? '' : `the bytes of ${key}`)
  await tell.putParts('told/parts.bin', [Buffer.alloc(5 << 20, 'one'), Buffer.alloc(1000, 'two')])
  await tell.copy('told/parts.bin', 'told/copied.bin')
  await tell.copy('told/pl+us', 'told/copied + too')
  for (const body of ['first', 'second', 'third']) await tell.put('told/overwritten.txt', body)
  await settled('a topic that is not persistent: each key, overwrites, a multipart upload and copies arrive')
  await tell.remove('told/copied.bin')
  await tell.remove('told/never-there')
  await tell.keepVersions()
  await tell.put('told/versions.txt', 'older')
  await tell.put('told/versions.txt', 'newer')
  await tell.put('told/hidden.txt', 'hidden')
  const marker = await tell.remove('told/versions.txt')
  await tell.remove('told/hidden.txt')
  await settled('deletes and delete markers arrive')
  await tell.remove('told/versions.txt', marker)
  await settled('a version that shows again when its delete marker goes arrives')

  const many = Array.from({ length: 80 }, (_, index) => `kept/many/${index}.txt`)
  await Promise.all(many.map(async key => { await keep.put(key, `the bytes of ${key}`) }))
  await Promise.all([keep.put('kept/many/0.txt', 'again'), ...many.slice(1, 21).map(async key => { await keep.remove(key) })])
  await settled('a persistent topic: many objects at once, and their removal, arrive')

  await stop()
  for (const body of ['while', 'it', 'was down']) await keep.put('kept/down.txt', body)
  await keep.remove('kept/many/21.txt')
  await tell.put('told/lost.txt', 'lost')
  await until(() => (statuses()['502'] ?? 0) > 8, 'the gateway asks while nobody serves', 120_000, 50)
  await start('another-secret-than-that')
  await until(() => (statuses()['401'] ?? 0) > 4, 'the gateway asks with a secret that is wrong now', 120_000, 50)
  await stop()
  await start(secret)
  await until(async () => (await differences()).join() === '"told/lost.txt" is missing', 'what a persistent topic told while nobody served it, and while the secret was wrong, arrives', 120_000, 250)
  expect(true, 'what a persistent topic told while nobody served it, and while the secret was wrong, arrives')
  expect((await differences()).join() === '"told/lost.txt" is missing', 'what another topic told meanwhile is lost')
  await ask('/sync', { method: 'POST', body: JSON.stringify({ bucket: told, key: 'told/lost.txt' }) })
  await settled('and one call brings it')

  const failed = (await ask('/jobs?state=failed&limit=200')).items
  expect(failed.length === unmappableKeys.length && failed.every(({ key = '', error }) => error?.code === 'key_not_mappable' && isLeftOut(key)), `only what cannot be a path failed: ${failed.map(({ key, error }) => `${JSON.stringify(key)} ${error?.code}`).join(', ')}`)
  const purged = new Set(sandbox.fastPurge.purges().flatMap(({ objects = [] }) => objects))
  const unpurged = sandbox.netstorage.store.names().map(name => `https://www.example.com/${name.split('/').slice(2).map(each => encodeURIComponent(each).replace(/[!'()*]/g, mark => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)).join('/')}`).filter(url => !purged.has(url))
  expect(unpurged.length === 0, `the URL of each was purged${unpurged.map(each => `\n    ${each}`).join('')}`)
  const job = (await ask(`/jobs?key=${encodeURIComponent('told/parts.bin')}`)).items[0]
  say(`    ${((await ask(`/jobs/${job?.id}`)) as unknown as Job).timeline?.map(({ step }) => step).join(', ')}`)
  await stop()
  const taken = Object.values(verdicts).reduce((sum, count) => sum + count, 0)
  expect(taken === statuses()['200'], `each event that was taken is counted: ${JSON.stringify(verdicts)} of ${JSON.stringify(statuses())}`)
  const forms = new Set(balancer.passed.map(({ headers, body }) => `${Object.keys(headers).join(' ')}; ${headers['content-type']}; ${body === '' ? 'no body' : Object.keys(JSON.parse(body).Records[0]).join(' ')}`))
  for (const form of forms) say(`    ${form}`)
}
