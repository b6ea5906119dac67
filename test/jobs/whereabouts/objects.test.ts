import t from 'tap'
import { bucket, startSandbox } from '../../../sandbox/sandbox.ts'
import { buildApp } from '../../../src/app.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox()
const { s3, netstorage } = sandbox
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '600', DELETE_LIMIT_PER_MINUTE: '0' }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const call = async (url: string, key: string, more: object = {}) => (await app.inject({ method: 'POST', url, payload: { bucket, key, ...more }, headers: { prefer: 'wait=30' } })).json() as { id: string, state: string }
const where = async (key: string, of = bucket) => (await app.inject(`/objects?bucket=${of}&key=${encodeURIComponent(key)}`)).json()
const url = 'https://www.example.com/a.css'

t.test('of what was never copied it is said why', async t => {
  t.match(await where('a.css'), { summary: /nobody asked.*would put it at 123456\/a\.css/, items: [], jobs: [] })
  t.match(await where('a//b'), { summary: /makes an empty segment/, items: [] })
  t.match(await where('a.css', 'other'), { summary: /no rule takes it\. example-assets: is for the bucket/, items: [] })
})

t.test('an object is followed from its upload to its purge and its end', async t => {
  await s3.put(bucket, 'a.css', 'body {}')
  const { id } = await call('/upload', 'a.css')
  t.match(await where('a.css'), { items: [{ live: false, path: 'a.css', present: true, sizeBytes: 7, etag: /./, md5: /./, mtime: /Z$/, committedAt: /Z$/, jobId: id, reasons: [{ code: 'purge_not_asked' }], purges: [], owed: [{ object: url, repeat: false, dueAt: undefined }] }], jobs: [{ id, kind: 'upload' }] })
  await call('/sync', 'a.css')
  t.match(await where('a.css'), { summary: /holds it since.*the edge was told at/, items: [{ live: true, reasons: [], purges: [{ object: url, type: 'url', network: 'production', purgeId: /./, supportId: /./, acceptedAt: /Z$/ }], owed: [{ object: url, repeat: true }] }], jobs: [{ kind: 'sync' }, { kind: 'upload' }] })

  await s3.delete(bucket, 'a.css')
  const failed = (await call('/sync', 'a.css') as unknown as { job: { id: string } }).job
  t.match(await where('a.css'), { items: [{ live: false, present: true, reasons: [{ code: 'failed', jobId: failed.id, detail: /no such object/ }] }] }, 'what is there is no longer what S3 holds')
  const Records = [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectRemoved:Delete', s3: { bucket: { name: bucket }, object: { key: 'a.css', sequencer: '0A' } } }]
  const { jobIds: [held = ''] } = (await app.inject({ method: 'POST', url: '/events', payload: JSON.stringify({ Records }) })).json() as { jobIds: string[] }
  t.match((await app.inject({ url: `/jobs/${held}`, headers: { prefer: 'wait=30' } })).json(), { state: 'held' }, 'nobody waits for what is held')
  t.match(await where('a.css'), { items: [{ live: false, reasons: [{ code: 'held', jobId: held }] }] })
  await call('/sync', 'a.css', { onMissing: 'delete' })
  t.match(await where('a.css'), { summary: /was deleted on NetStorage/, items: [{ live: true, present: false, purges: [{ object: url, action: 'delete' }] }] })
})

t.test('a paused target is named with its reason', async t => {
  await s3.put(bucket, 'b.css', 'x')
  const account = netstorage.accounts[0] as { key: string }
  const { key } = account
  account.key = 'another-key'
  const { id } = (await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key: 'b.css' } })).json() as { id: string }
  let found = await where('b.css')
  for (; found.items[0]?.reasons[0]?.code !== 'paused'; found = await where('b.css')) await new Promise(resolve => { setTimeout(resolve, 20) })
  t.match(found.items[0], { present: false, reasons: [{ jobId: id, detail: /the target default is paused: NetStorage answered/ }] })
  account.key = key
  t.match((await app.inject({ url: `/jobs/${id}`, headers: { prefer: 'wait=30' } })).json(), { state: 'succeeded' })
})
