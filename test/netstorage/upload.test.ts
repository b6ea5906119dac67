import { createHash } from 'node:crypto'
import t from 'tap'
import { startNetStorage, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import { createNetStorageClient, type NetStorageOptions as ClientOptions, type Upload } from '../../src/netstorage/client.ts'
import { account } from '../sandbox/signed-request.ts'
import { answer, reset, startScriptedServer, type Act } from './scripted-server.ts'

const at = { cpCode: 123456, path: 'dir/a b.bin' }
const name = '/123456/dir/a b.bin'
const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex')
const large = Buffer.alloc(3_000_000, 'large body ')
/** More than any buffer between two sockets holds. */
const huge = { sizeBytes: 64 * 1024 * 1024, chunk: Buffer.alloc(64 * 1024, 'x') }
type Tap = { teardown: (fn: () => Promise<void>) => void }

/** A source in pieces, which knows whether it was let go of. */
function source (bytes: Buffer, pieceBytes = 65_536) {
  const state = { ended: false, given: 0 }
  async function * body (): AsyncGenerator<Buffer> {
    try {
      for (let from = 0; from < bytes.length; from += pieceBytes) {
        const piece = bytes.subarray(from, from + pieceBytes)
        state.given += piece.length
        yield piece
      }
    } finally {
      state.ended = true
    }
  }
  return { state, body: body() }
}

function make (t: Tap, hostname: string, close: () => Promise<void>, more: Partial<ClientOptions> = {}) {
  const client = createNetStorageClient({ hostname, keyName: account.keyName, key: account.key, ...more })
  t.teardown(async () => {
    client.close()
    await close()
  })
  return async (bytes: Buffer, changes: Partial<Upload> = {}) => await client.upload({ ...at, body: source(bytes).body, sizeBytes: bytes.length, mtime: 7, ...changes })
}

/** A store that holds an old object at the path, and what uploads to it. */
async function start (t: Tap, { client, ...options }: Partial<NetStorageOptions> & { client?: Partial<ClientOptions> } = {}) {
  const emulator = await startNetStorage({ accounts: [account], ...options })
  emulator.store.put(name, 'old')
  return { ...emulator, upload: make(t, emulator.origin, emulator.close, client), kept: () => emulator.store.get(name)?.body?.toString() }
}

async function scripted (t: Tap, ...script: Act[]) {
  const server = await startScriptedServer()
  server.script.push(...script)
  return { ...server, upload: make(t, server.origin, server.close) }
}

t.test('a body whose MD5 is known goes out with its length, another hashed on its way and proved in trailers', async t => {
  const { upload, store, log } = await start(t)
  for (const bytes of [Buffer.from('small'), Buffer.alloc(0), large]) {
    for (const known of [md5(bytes), undefined]) {
      store.put(name, 'old')
      const progress: number[] = []
      t.same(await upload(bytes, { ...(known === undefined ? {} : { md5: known }), onProgress: sent => { progress.push(sent) } }), { md5: md5(bytes) })
      t.match(store.get(name), { sizeBytes: bytes.length, md5: md5(bytes), mtime: 7, body: bytes })
      t.same(progress, [...progress].sort((a, b) => a - b))
      t.equal(progress.at(-1) ?? 0, bytes.length)
    }
  }
  t.ok(log.every(({ status, method }) => status === 200 && method === 'PUT'))
})

t.test('what leaves says how the body is framed, and no more than it must', async t => {
  const { upload, script, seen } = await scripted(t, answer(200), answer(204))
  await upload(Buffer.from('small'), { md5: md5(Buffer.from('small')) })
  await upload(Buffer.from('small'))
  t.equal(script.length, 0)
  const [known, hashed] = seen
  t.match(known, { method: 'PUT', url: '/123456/dir/a%20b.bin', headers: { 'content-length': '5', 'accept-encoding': 'identity', 'transfer-encoding': undefined, expect: undefined, 'content-type': undefined } })
  t.match(known?.headers['x-akamai-acs-action'], /^version=1&action=upload&size=5&md5=[0-9a-f]{32}&mtime=7$/)
  t.match(hashed, { headers: { 'transfer-encoding': 'chunked', 'content-length': undefined, trailer: undefined, 'x-akamai-acs-action': 'version=1&action=upload&size=5&md5=atend&mtime=7' } })
  t.equal(hashed?.trailers['x-akamai-acs-action'], known?.headers['x-akamai-acs-action'])
  t.not(hashed?.trailers['x-akamai-acs-auth-data'], hashed?.headers['x-akamai-acs-auth-data'], 'trailers have an id of their own')
})

t.test('empty chunks and a body of one piece change nothing', async t => {
  const { upload, kept } = await start(t)
  const body = async function * () { for (const piece of ['', 'ab', '', 'c', '']) yield Buffer.from(piece) }
  await upload(Buffer.from('abc'), { body: body() })
  t.equal(kept(), 'abc')
})

t.test('a source of another length than announced stores nothing', async t => {
  const { upload, kept, log } = await start(t)
  for (const known of [{ md5: md5(large) }, {}]) {
    for (const [sizeBytes, message] of [[large.length - 1, /gave more than 2999999 bytes/], [large.length + 1, /gave 3000000 bytes where 3000001/], [0, /more than 0/]] as const) {
      await t.rejects(upload(large, { sizeBytes, ...known }), { code: 'object_changed', retryable: true, message })
    }
    await t.rejects(upload(Buffer.from('ab'), { sizeBytes: 3, ...known }), { code: 'object_changed' }, 'before the first byte left')
  }
  t.equal(kept(), 'old')
  t.ok(log.every(({ status }) => status === 0))
})

t.test('the last bytes wait for beforeCommit, and do not leave if it throws', async t => {
  for (const known of [{ md5: md5(large) }, {}]) {
    const { upload, kept, log } = await start(t)
    const { state, body } = source(large)
    let sent = 0
    await t.rejects(upload(large, {
      ...known,
      body,
      onProgress (bytes) { sent = bytes },
      beforeCommit () {
        t.ok(state.ended, 'it comes when the source has given all')
        t.ok(sent < large.length, 'and before all have left')
        throw new Error('the lease is lost')
      }
    }), { message: 'the lease is lost' })
    t.equal(kept(), 'old')
    while (log.length === 0) await new Promise(resolve => { setImmediate(resolve) })
    t.match(log, [{ status: 0 }])
  }
  const { upload, kept } = await start(t)
  await t.rejects(upload(Buffer.alloc(0), { beforeCommit: () => { throw new Error('lost') } }), { message: 'lost' })
  t.equal(kept(), 'old', 'an empty body commits no sooner')
  let asked = 0
  await upload(large, { beforeCommit: () => { asked++ } })
  t.equal(asked, 1)
})

t.test('when beforeCommit is asked, all but the last bytes have left, and a body that is small has not begun to', async t => {
  for (const known of [true, false]) {
    for (const size of [10_000, 40_000, large.length]) {
      const { upload, kept, log } = await start(t)
      const bytes = large.subarray(0, size)
      const released: number[] = []
      await t.rejects(upload(bytes, {
        ...(known ? { md5: md5(bytes) } : {}),
        release: chunk => { released.push(chunk.length) },
        beforeCommit () {
          const whole = Math.floor(size / 65_536)
          t.same(released, Array.from({ length: size % 65_536 === 0 ? whole - 1 : whole }, () => 65_536))
          throw new Error('lost')
        }
      }), { message: 'lost' })
      t.equal(kept(), 'old')
      if (size > 10_000) while (log.length === 0) await new Promise(resolve => { setImmediate(resolve) })
      t.ok(log.every(({ status, bytes: arrived }) => status === 0 && arrived < size))
    }
  }
  const { upload } = await start(t)
  let released = 0
  await upload(large, { release: chunk => { released += chunk.length } })
  t.equal(released, large.length, 'each chunk is let go of once')
})

t.test('a source that fails keeps the old object and tells its own error', async t => {
  const { upload, kept } = await start(t)
  const body = async function * () {
    yield large
    throw new Error('S3 broke')
  }
  await t.rejects(upload(large, { body: body(), sizeBytes: large.length + 1 }), { message: 'S3 broke' })
  t.equal(kept(), 'old')
})

t.test('an abort ends an upload with its reason, and keeps the old object', async t => {
  const { upload, kept, log } = await start(t)
  const stop = new AbortController()
  const { state, body } = source(large)
  await t.rejects(upload(large, { body, signal: stop.signal, onProgress () { stop.abort(new Error('the lease is lost')) } }), { message: 'the lease is lost' })
  while (log.length === 0 || !state.ended) await new Promise(resolve => { setImmediate(resolve) })
  t.ok(state.given < large.length, 'the source is let go of')
  const late = new AbortController()
  let sent = 0
  await t.rejects(upload(large, { signal: late.signal, onProgress (bytes) { sent = bytes }, beforeCommit () { late.abort(new Error('too late')) } }), { message: 'too late' }, 'even just before the commit')
  await t.rejects(upload(large, { signal: stop.signal }), { message: 'the lease is lost' }, 'and before it began')
  while (log.length < 2) await new Promise(resolve => { setImmediate(resolve) })
  t.ok(sent < large.length, 'what was held back is not counted')
  t.equal(kept(), 'old')
  t.ok(log.every(({ status }) => status === 0))
})

t.test('bytes that NetStorage refuses are told apart from a request it refuses', async t => {
  for (const status of [409, 412, 422]) {
    const { upload, kept } = await start(t, { digestMismatchStatus: status })
    await t.rejects(upload(large, { md5: '0'.repeat(32) }), { code: 'netstorage_digest_refused', retryable: true, message: new RegExp(`answered ${status} to upload`) })
    t.equal(kept(), 'old')
  }
  const { upload } = await start(t, { maxPathBytes: 5 })
  await t.rejects(upload(large), { code: 'netstorage_refused', message: /answered 400/ })
})

/** A source without an end in sight, which counts what it gave. */
function endless () {
  const state = { given: 0, ended: false }
  async function * body () {
    try {
      for (; state.given < huge.sizeBytes; state.given += huge.chunk.length) yield huge.chunk
    } finally {
      state.ended = true
    }
  }
  return { state, body: body(), sizeBytes: huge.sizeBytes }
}

t.test('an answer that comes before the body was sent ends the upload and lets go of the source', async t => {
  const { upload, accounts, faults, store } = await start(t)
  faults.add({ times: 1, status: 503, headers: { 'Retry-After': '3' } })
  const busy = endless()
  await t.rejects(upload(large, busy), { code: 'netstorage_unavailable', retryAfterSeconds: 3 })
  accounts[0] = { ...account, key: 'other' }
  const forbidden = endless()
  await t.rejects(upload(large, forbidden), { code: 'netstorage_forbidden' })
  // Acknowledged before all was there: nothing of that counts as stored.
  const early = await scripted(t, (request, response) => { response.end() })
  const acknowledged = endless()
  await t.rejects(early.upload(large, acknowledged), { code: 'netstorage_unavailable', message: /answered 200 to upload .* nothing counts as done/ })
  for (const { state } of [busy, forbidden, acknowledged]) {
    while (!state.ended) await new Promise(resolve => { setImmediate(resolve) })
    t.ok(state.given < huge.sizeBytes)
  }
  t.equal(store.get(name)?.body?.toString(), 'old')
})

t.test('a server that stops taking bytes, or never acknowledges, is silent', async t => {
  const { upload, faults, kept, store } = await start(t, { client: { stallTimeoutMs: 100 } })
  faults.add({ times: 1, hang: 'mid-body', afterBytes: 1000 })
  const stalled = endless()
  await t.rejects(upload(large, stalled), { code: 'netstorage_silent', retryable: true, message: /did not move a byte for 0\.1 s during upload of \/123456\/dir\/a%20b\.bin/ })
  while (!stalled.state.ended) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(kept(), 'old')
  faults.add({ times: 1, hang: 'after-commit' })
  await t.rejects(upload(large), { code: 'netstorage_silent' })
  t.equal(store.get(name)?.md5, md5(large), 'it may be stored all the same: only stat can tell')
})

t.test('a source that takes its time is no silence of NetStorage', async t => {
  const { upload, kept } = await start(t, { client: { stallTimeoutMs: 40 } })
  const body = async function * () {
    for (const piece of ['one', 'two', 'six']) {
      await new Promise(resolve => { setTimeout(resolve, 120) })
      yield Buffer.from(piece)
    }
  }
  await upload(Buffer.from('onetwosix'), { body: body() })
  t.equal(kept(), 'onetwosix')
})

t.test('a connection that breaks in the middle keeps the old object, and nothing is sent twice', async t => {
  const { upload, faults, kept, log } = await start(t)
  for (const afterBytes of [0, 1_000_000]) {
    faults.add({ times: 1, reset: 'mid-body', afterBytes })
    await t.rejects(upload(large), { code: 'netstorage_unavailable', retryable: true, message: /connection to NetStorage broke during upload/ })
  }
  t.equal(kept(), 'old')
  t.equal(log.length, 2)
})

t.test('a kept connection that breaks under an upload fails it: its body is spent', async t => {
  const { upload, seen, connections } = await scripted(t, answer(200), reset, answer(200))
  await upload(Buffer.from('one'))
  await t.rejects(upload(Buffer.from('two')), { code: 'netstorage_unavailable' })
  t.equal(seen.length, 2)
  t.equal(connections(), 1, 'it was the connection of before')
  await upload(Buffer.from('six'))
  t.equal(connections(), 2)
})
