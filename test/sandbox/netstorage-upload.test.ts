import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startNetStorage, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import { account, ask, signed, type SignedRequest } from './signed-request.ts'

const path = '/123456/dir/file.bin'
const body = 'Hello, World!'
const hash = (algorithm: string, bytes = body) => createHash(algorithm).update(bytes).digest('hex')

/** A store that holds an old object at the path, and what uploads to it. */
async function start (t: { teardown: (fn: () => Promise<void>) => void }, options: Partial<NetStorageOptions> = {}) {
  const emulator = await startNetStorage({ accounts: [account], ...options })
  t.teardown(emulator.close)
  emulator.store.put(path, 'old', { mtime: 5 })
  return {
    ...emulator,
    upload: async (parameters: string, more: Partial<SignedRequest> = {}) => await ask(emulator.origin, { path, action: `upload${parameters}`, body, ...more })
  }
}

t.test('an upload is stored with its digests and the time it was given, or now', async t => {
  const { upload, store, log } = await start(t, { now: () => 1_700_000_000_123 })
  const sign = { nowSeconds: 1_700_000_000 }
  t.match(await upload('', { sign }), { status: 200, text: '' })
  t.match(store.get(path), { type: 'file', sizeBytes: 13, md5: hash('md5'), sha256: hash('sha256'), mtime: 1_700_000_000, micros: 123_000, body: Buffer.from(body) })
  t.match(log.at(-1), { method: 'PUT', action: 'upload', path, name: path, status: 200, bytes: 13, md5: hash('md5') })
  const all = `&size=13&md5=${hash('md5').toUpperCase()}&sha1=${hash('sha1')}&sha256=${hash('sha256')}&mtime=7`
  t.equal((await upload(all, { sign })).status, 200, 'hex in either case')
  t.match(store.get(path), { mtime: 7 })
  t.equal((await upload('&size=0', { sign, body: '' })).status, 200)
  t.match(store.get(path), { sizeBytes: 0, md5: hash('md5', '') })
})

t.test('what does not hold what was announced leaves the old object', async t => {
  const { upload, store } = await start(t)
  const zeros = (length: number) => '0'.repeat(length)
  for (const [parameters, reason] of [
    ['&size=12', /13 bytes came, not 12/], [`&md5=${zeros(32)}`, /the md5 of what came/], [`&sha1=${zeros(40)}`, /the sha1/], [`&sha256=${zeros(64)}`, /the sha256/], [`&md5=${hash('md5')}&sha256=${zeros(64)}`, /the sha256/]
  ] as const) t.match(await upload(parameters), { status: 422, text: reason }, parameters)
  t.match(await upload('&md5=atend'), { status: 400, text: /atend needs a chunked body/ })
  const { 'X-Akamai-ACS-Action': action, ...rest } = signed(path, 'version=1&action=upload')
  const socket = connect(Number(new URL((await start(t)).origin).port), '127.0.0.1')
  socket.end(['PUT /123456/dir/file.bin HTTP/1.1', 'Host: a', `X-Akamai-ACS-Action: ${action}`, ...Object.entries(rest).map(([name, value]) => `${name}: ${value}`), 'Connection: close', '', ''].join('\r\n'))
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  t.match(answer, /^HTTP\/1\.1 411 /, 'a body without a framing')
  t.equal(store.get(path)?.body?.toString(), 'old')
  const other = await start(t, { digestMismatchStatus: 409 })
  t.equal((await other.upload('&size=12')).status, 409)
})

t.test('values may follow in trailers that are signed like headers', async t => {
  const { upload, store } = await start(t)
  const late = (parameters: string, trailers: SignedRequest['trailers'], more: Partial<SignedRequest> = {}) => upload(parameters, { body: ['Hello, ', 'World!'], headers: { 'Transfer-Encoding': 'chunked' }, ...(trailers === undefined ? {} : { trailers }), ...more })
  const [md5, sha1, sha256] = ['md5', 'sha1', 'sha256'].map(algorithm => `&${algorithm}=${hash(algorithm)}`)
  const wrong = signed(path, `version=1&action=upload${md5}`, { key: 'other' })
  const refused: Array<[string, SignedRequest['trailers'], number, RegExp]> = [
    ['&md5=atend', undefined, 400, /trailers: no X-Akamai-ACS-Action/],
    ['&md5=atend', { 'X-Akamai-ACS-Action': 'version=1&action=upload' }, 400, /trailers: .* is missing/],
    ['&md5=atend', wrong, 403, /trailers: the signature does not match/],
    ['&md5=atend', signed('/123456/other', `version=1&action=upload${md5}`), 403, /trailers: the signature/],
    ['&md5=atend', 'upload', 400, /change or leave open "md5"/],
    ['&md5=atend', 'upload&md5=atend', 400, /change or leave open "md5"/],
    ['&md5=atend&mtime=5', `upload${md5}&mtime=6`, 400, /leave open "mtime"/],
    ['&md5=atend&mtime=5', `upload${md5}`, 400, /leave open "mtime"/],
    ['&md5=atend', `upload${md5}&mtime=6`, 400, /leave open "mtime"/],
    ['&md5=atend', 'delete', 400, /leave open "(md5|action)"/],
    ['&md5=atend', 'upload&md5=short', 400, /trailers: "short" is no value for md5/],
    ['&md5=atend', `upload&md5=${'0'.repeat(32)}`, 422, /the md5 of what came/],
    ['&size=14&md5=atend', `upload&size=14${md5}`, 422, /13 bytes came, not 14/]
  ]
  for (const [parameters, trailers, status, text] of refused) t.match(await late(parameters, trailers), { status, text }, `${parameters} then ${JSON.stringify(trailers)}`)
  t.equal(store.get(path)?.body?.toString(), 'old')
  t.equal((await late('&md5=atend&sha1=atend&sha256=atend&mtime=atend&size=13', `upload${md5}${sha1}${sha256}&mtime=9&size=13`)).status, 200)
  t.match(store.get(path), { body: Buffer.from(body), mtime: 9 })
  t.equal((await late('&mtime=atend', 'upload&mtime=1', { body: [] })).status, 200, 'an empty body too')
  t.match(store.get(path), { sizeBytes: 0, mtime: 1 })
  t.equal((await late('', undefined)).status, 200, 'a chunked body needs no trailers')
})

t.test('a connection that ends too soon leaves the old object', async t => {
  const { origin, store, log } = await start(t)
  const headers = Object.entries({ ...signed(path, 'version=1&action=upload'), Host: 'a', 'Content-Length': '10' })
  const socket = connect(Number(new URL(origin).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.end(`PUT ${path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n12345`)
  await once(socket.resume(), 'close')
  t.match(log, [{ action: 'upload', status: 0 }])
  t.equal(store.get(path)?.body?.toString(), 'old')
})

t.test('of a large body only the digests are kept', async t => {
  const { upload, store } = await start(t, { keepBodiesUpTo: 12 })
  t.equal((await upload('')).status, 200)
  t.match(store.get(path), { sizeBytes: 13, md5: hash('md5'), sha256: hash('sha256'), body: undefined })
})

t.test('uploads that run are named, and at once on one path counted', async t => {
  const { upload, faults, mostUploadsAtOnce, uploading } = await start(t)
  t.equal(mostUploadsAtOnce(), 0)
  await upload('')
  await upload('')
  t.equal(mostUploadsAtOnce(), 1)
  faults.add({ slow: { bytesPerSecond: 300 } })
  const both = Promise.all([upload(''), upload('')])
  while (mostUploadsAtOnce() < 2) await new Promise(resolve => { setImmediate(resolve) })
  t.same(uploading(), [path])
  await both
  t.equal(mostUploadsAtOnce(), 2)
  t.same(uploading(), [])
})
