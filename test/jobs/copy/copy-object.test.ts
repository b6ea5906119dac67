import t from 'tap'
import { syntheticHashes } from '../../../sandbox/s3/synthetic.ts'
import { PutOff } from '../../../src/jobs/copy/copy-object.ts'
import { createNetStorageClient } from '../../../src/netstorage/client.ts'
import { until } from '../../process.ts'
import { bucket, startWorkbench } from './workbench.ts'

const { s3, netstorage, rule, copy, put, lies, stored, asked, read, at } = await startWorkbench(t)
const sizeBytes = 200_000

t.test('where the MD5 is not known it is hashed on the way, or by reading twice', async t => {
  const made = { seed: 1, sizeBytes, etag: 'multipart' as const }
  for (const [digest, reads] of [['trailer', 1], ['prehash', 2]] as const) {
    put(digest, made)
    t.match(await copy(digest, { digest }), { outcome: 'uploaded', sizeBytes })
    t.equal(lies(digest, made), 1)
    t.equal(read(digest).length, reads)
  }
})

t.test('a target that refuses an MD5 gets one more try by trailer, whether the MD5 was given or read', async t => {
  for (const etag of ['md5', 'multipart'] as const) {
    const made = { seed: 2, sizeBytes, etag }
    put(`refused-${etag}`, made)
    netstorage.faults.add({ times: 1, status: 422, match: { action: 'upload', path: at(`refused-${etag}`) } })
    t.match(await copy(`refused-${etag}`, { digest: 'prehash' }), { outcome: 'uploaded' })
    t.equal(lies(`refused-${etag}`, made), 2)
    t.same(asked(`refused-${etag}`, 'upload').map(each => each.status), [422, 200])
  }
  put('refused', { seed: 2, sizeBytes, etag: 'md5' })
  netstorage.faults.add({ times: 2, status: 422, match: { action: 'upload', path: at('refused') } })
  await t.rejects(copy('refused'), { code: 'netstorage_digest_refused', retryable: true })
})

t.test('an object that changes between two reads is not mixed with another', async t => {
  put('changed', { seed: 1, sizeBytes, etag: 'multipart' })
  const hashed = copy('changed', { digest: 'prehash', markPending: async () => { put('changed', { seed: 2, sizeBytes, etag: 'multipart' }) } })
  await t.rejects(hashed, { code: 'object_changed', retryable: true })
  t.equal(stored('changed'), undefined)
})

t.test('what lies there already is not uploaded, unless it must be', async t => {
  const made = { seed: 3, sizeBytes, etag: 'md5' as const }
  put('same', made)
  await copy('same')
  t.match(await copy('same'), { outcome: 'unchanged', sizeBytes })
  t.match(await copy('same', { work: { force: true } }), { outcome: 'uploaded' })
  netstorage.store.delete(at('same'))
  t.match(await copy('same'), { outcome: 'uploaded' }, 'the ledger alone is not believed')
})

t.test('the mtime of a path only grows, two overwrites of one second included', async t => {
  const lastModified = new Date('2026-01-15T08:30:00Z')
  const mtimes: number[] = []
  for (const seed of [1, 2, 3]) {
    s3.putSynthetic(bucket, 'mtime', { seed, sizeBytes, lastModified })
    await copy('mtime')
    mtimes.push(stored('mtime')?.mtime as number)
  }
  const first = lastModified.getTime() / 1000
  t.same(mtimes, [first, first + 1, first + 2])
  s3.putSynthetic(bucket, 'mtime', { seed: 4, sizeBytes, lastModified: new Date('2020-01-01T00:00:00Z') })
  t.match(await copy('mtime'), { mtime: first + 3 }, 'an older object that comes back is a change, too')
})

t.test('a path that was written just now waits, but not for bytes that lie there already', async t => {
  put('rewrite', { seed: 1, sizeBytes, etag: 'md5' })
  await copy('rewrite', { minRewriteMs: 60_000 })
  t.match(await copy('rewrite', { minRewriteMs: 60_000 }), { outcome: 'unchanged' })
  put('rewrite', { seed: 2, sizeBytes, etag: 'md5' })
  const error = await copy('rewrite', { minRewriteMs: 60_000 }).catch((error: unknown) => error) as PutOff
  t.type(error, PutOff)
  t.ok(error.waitMs > 50_000 && error.waitMs <= 60_000)
  t.match(await copy('rewrite', { minRewriteMs: 60_000, now: () => new Date(Date.now() + 61_000) }), { outcome: 'uploaded' })
  put('rewrite', { seed: 3, sizeBytes, etag: 'md5' })
  const ahead = await copy('rewrite', { minRewriteMs: 60_000, now: () => new Date(Date.now() - 3_600_000) }).catch((error: unknown) => error) as PutOff
  t.equal(ahead.waitMs, 60_000, 'a clock that is off costs no more than that')
})

t.test('nor does a delete in between let two uploads of a path follow at once', async t => {
  put('again', { seed: 1, sizeBytes, etag: 'md5' })
  await copy('again', { minRewriteMs: 60_000 })
  await s3.delete(bucket, 'again')
  t.match(await copy('again', { minRewriteMs: 60_000, work: { onMissing: 'delete' } }), { outcome: 'deleted' }, 'which itself need not wait')
  put('again', { seed: 2, sizeBytes, etag: 'md5' })
  await t.rejects(copy('again', { minRewriteMs: 60_000 }), PutOff)
  t.match(await copy('again', { minRewriteMs: 60_000, now: () => new Date(Date.now() + 61_000) }), { outcome: 'uploaded' })
})

t.test('a delete whose turn comes when its lease is over does not happen', async t => {
  put('frozen', { seed: 1, sizeBytes, etag: 'md5' })
  await copy('frozen')
  await s3.delete(bucket, 'frozen')
  let over = false
  const waits = createNetStorageClient({ hostname: netstorage.origin, keyName: 'upload', key: 'a-key', admit: async kind => { over ||= kind === 'write' } })
  t.teardown(() => { waits.close() })
  const lease = {
    signal: new AbortController().signal,
    check () { if (over) throw new Error('another worker has it now') }
  }
  await t.rejects(copy('frozen', { work: { onMissing: 'delete' }, netstorage: waits, lease }), { message: 'another worker has it now' })
  t.equal(stored('frozen')?.md5, syntheticHashes(1, sizeBytes).md5)
})

t.test('an express slot takes small objects only', async t => {
  put('small', { seed: 1, sizeBytes: 10_240, etag: 'md5' })
  t.match(await copy('small', { isExpress: true }), { outcome: 'uploaded' })
  put('large', { seed: 1, sizeBytes: 2_000_000, etag: 'md5' })
  await t.rejects(copy('large', { isExpress: true }), { name: 'PutOff', priority: 1 })
  t.equal(stored('large'), undefined)
})

t.test('nobody holds a slot while S3 and the ledger are asked', async t => {
  const made = { seed: 6, sizeBytes, etag: 'md5' as const }
  put('slot', made)
  const order: string[] = []
  const steps = {
    markPending: async () => { order.push('marked') },
    takeSlot: async () => { order.push('took a slot') },
    onUpload () { order.push('uploads') }
  }
  t.match(await copy('slot', steps), { outcome: 'uploaded' })
  t.same(order.splice(0), ['marked', 'took a slot', 'uploads'])
  t.match(await copy('slot', steps), { outcome: 'unchanged' })
  t.same(order.splice(0), [], 'none is needed to see that nothing is to be done')
  await s3.delete(bucket, 'slot')
  t.match(await copy('slot', { ...steps, work: { onMissing: 'delete' } }), { outcome: 'deleted' })
  t.same(order, [], 'nor may a delete wait after S3 was asked: the object may be back by then')
})

t.test('where no slot comes free nothing is sent, and S3 is let go', async t => {
  put('crowded', { seed: 6, sizeBytes: 50_000_000, etag: 'md5' })
  await t.rejects(copy('crowded', { takeSlot: async () => { throw new PutOff('no slot came free', {}) } }), PutOff)
  t.same([asked('crowded', 'upload').length, stored('crowded')], [0, undefined])
  await until(() => read('crowded').length > 0, 'the answer of S3 is over')
  t.match(await copy('crowded'), { outcome: 'uploaded' })
})

t.test('a rule may know better than to take an ETag for an MD5', async t => {
  put('never', { seed: 5, sizeBytes, etag: 'md5' })
  t.match(await copy('never', { rule: { ...rule, etagIsMd5: 'never' } }), { outcome: 'uploaded' })
  t.equal(lies('never', { seed: 5, sizeBytes, etag: 'md5' }), 5)
})
