import { connect } from 'node:net'
import t from 'tap'
import { startNetStorage, type NetStorageEmulator, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import { ReplayGuard } from '../../sandbox/netstorage/replay.ts'
import { TokenBucket } from '../../sandbox/netstorage/token-bucket.ts'
import fixtures from '../fixtures/netstorage-vectors.json' with { type: 'json' }
import { account, ask, signed, type SignedRequest } from './signed-request.ts'

const { defaults } = fixtures
const cpCode = 123456

async function start (t: Tap, options: Partial<NetStorageOptions> = {}): Promise<NetStorageEmulator> {
  const emulator = await startNetStorage({ accounts: [account], ...options })
  t.teardown(async () => { await emulator.close() })
  return emulator
}
type Tap = { teardown: (fn: () => Promise<void>) => void }

/** Sends a vector as it is written; its signature is not ours. */
async function sendVector (origin: string, { method, wirePath, headers }: { method: string, wirePath: string, headers: object }, trailers?: Record<string, string>) {
  const action = (headers as Record<string, string>)['X-Akamai-ACS-Action'] as string
  const body = !action.includes('action=upload') ? '' : action.includes('sha') ? 'Hello, World!' : 'any bytes'
  return await ask(origin, { method, path: wirePath, action, headers: { ...headers, ...(trailers === undefined ? {} : { 'Transfer-Encoding': 'chunked' }) }, ...(method === 'GET' ? {} : { body }), ...(trailers === undefined ? {} : { trailers }) })
}

t.test('every vector that others signed is let in and acted upon', async t => {
  let seconds = 0
  const mine = { ...account }
  const { origin, store, log } = await start(t, { accounts: [mine], now: () => seconds * 1000 })
  const trailer = fixtures.vectors.find(({ name }) => name === 'atend-trailer')?.headers as Record<string, string>
  // The signature of these is right, and what is signed is refused for another reason.
  const refused: Record<string, [number, RegExp]> = {
    'doc-upload-md5-mtime': [422, /md5/],
    'doc-filestore-upload': [403, /no right to this CP code/],
    'doc-filestore-alphabetical-params': [403, /no right to this CP code/],
    'csharp-kit-download': [403, /no right to this CP code/],
    'quick-delete': [403, /quick-delete is not allowed/],
    'non-ascii-key': [404, /no such directory/]
  }
  for (const { name, input, headers } of fixtures.vectors) {
    Object.assign(mine, { keyName: input.keyName, key: input.key })
    seconds = input.timestamp
    for (const known of store.names()) store.delete(known)
    for (const known of ['hello.txt', 'content/', 'content/img +&001.png', 'content/dir1/file 4.txt', 'old name.txt', 'café.txt', ...(name === 'rmdir' ? ['new/dir/'] : [])]) store.put(`/${cpCode}/${known}`, 'old')
    const answer = await sendVector(origin, { ...input, headers }, name === 'atend-initial' ? trailer : undefined)
    const [status, reason] = refused[name] ?? [200, undefined]
    t.equal(answer.status, status, name)
    if (reason !== undefined) t.match(log.at(-1)?.reason, reason)
    if (status === 200 && input.action.includes('action=upload')) t.ok(store.get(input.path ?? input.wirePath), `${name} is stored under its name, byte for byte`)
  }
})

t.test('every request that is signed wrongly is refused, and changes nothing', async t => {
  const { origin, store } = await start(t, { accounts: [{ ...defaults, cpCodes: [cpCode] }], now: () => defaults.timestamp * 1000 })
  store.put(`/${cpCode}/my dir/my file.txt`, 'old')
  for (const negative of fixtures.negative) t.equal((await sendVector(origin, negative)).status, negative.expectStatus, negative.why)
  t.equal(store.get(`/${cpCode}/my dir/my file.txt`)?.body?.toString(), 'old')
  t.same(store.names(), [`/${cpCode}/my dir/my file.txt`])
})

t.test('a clock may be 60 seconds off, either way, and no more', async t => {
  let seconds = 0
  const { origin } = await start(t, { accounts: [{ ...defaults, cpCodes: [cpCode] }], now: () => seconds * 1000 })
  for (const { name, vector, verifierClock, expect } of fixtures.clock) {
    seconds = verifierClock
    const { input, headers } = fixtures.vectors.find(({ name }) => name === vector) as typeof fixtures.vectors[number]
    t.equal((await sendVector(origin, { ...input, headers })).status, expect === 'accept' ? 200 : 403, name)
  }
  const { origin: ahead, clock } = await start(t, { clockWindowSeconds: 10 })
  clock.offsetSeconds = 12
  const answer = await ask(ahead, { path: `/${cpCode}`, action: 'stat' })
  t.match(answer, { status: 403, text: /clock of the client is -1[123] s off/ })
  t.ok(Date.parse(answer.headers.date as string) > Date.now() + 8000, 'its Date tells the time it goes by')
})

t.test('what is no proper request is refused, each for its own reason', async t => {
  const { origin, log, store } = await start(t, { maxPathBytes: 30, maxComponentBytes: 20 })
  const path = `/${cpCode}/a`
  const now = Math.floor(Date.now() / 1000)
  const data = (text: string): SignedRequest => ({ path, action: 'stat', sign: { authData: text } })
  const cases: Array<[SignedRequest, number, RegExp]> = [
    [data(`5, 0.0.0.0, 0.0.0.0, ${now}, svc-upload`), 403, /has 5 fields/],
    [data(`6, 0.0.0.0, 0.0.0.0, ${now}, 1, svc-upload`), 403, /version "6"/],
    [data(`5, 1.2.3.4, 0.0.0.0, ${now}, 1, svc-upload`), 403, /must be 0\.0\.0\.0/],
    [data(`5, 0.0.0.0, , ${now}, 1, svc-upload`), 403, /must be 0\.0\.0\.0/],
    [data(`5, 0.0.0.0, 0.0.0.0, ${now}.5, 1, svc-upload`), 403, /no whole number/],
    [data(`5, 0.0.0.0, 0.0.0.0, ${now}, , svc-upload`), 403, /unique id/],
    [data(`5, 0.0.0.0, 0.0.0.0, ${now}, 1, nobody`), 403, /no upload account "nobody"/],
    [{ path, action: 'stat', sign: { key: 'other' } }, 403, /signature does not match/],
    [{ path, action: 'stat', headers: { 'X-Akamai-ACS-Auth-Sign': 'short' } }, 403, /signature does not match/],
    [{ path, action: 'stat', headers: { 'X-Akamai-ACS-Auth-Sign': ['one', 'two'] } }, 403, /auth-sign came twice/],
    [{ path, action: 'stat', headers: { 'X-Akamai-Extra': '1' } }, 403, /x-akamai-extra is not one of the API/],
    [{ path: `${path}?x=1`, action: 'stat' }, 400, /takes no query/],
    [{ path: `/${cpCode}/%zz`, action: 'stat' }, 400, /broken escape/],
    [{ path: '/654321/a', action: 'stat' }, 403, /no right/],
    [{ path: `/0${cpCode}/a`, action: 'stat' }, 403, /no right/],
    [{ path: '/', action: 'stat' }, 403, /no right/],
    [{ path: `//${cpCode}/a`, action: 'stat' }, 403, /no right/],
    [{ path: `/${cpCode}/${'a/'.repeat(15)}a`, action: 'stat' }, 400, /has 31 bytes, more than 30/],
    [{ path: `/${cpCode}/b/${'a'.repeat(21)}`, action: 'stat' }, 400, /has 21 bytes, more than 20/],
    [{ path, action: 'version=2&action=stat' }, 400, /version must be 1/],
    [{ path, action: 'action=stat', headers: signed(path, 'action=stat') }, 400, /version must be 1/],
    [{ path, action: 'version=1', method: 'GET' }, 400, /no action ""/],
    [{ path, action: 'toString' }, 400, /no action "toString"/],
    [{ path, action: 'stat&action=stat' }, 400, /"action" came twice/],
    [{ path, action: 'stat&implicit' }, 400, /no name=value/],
    [{ path, action: 'stat&encoding=%u65E5' }, 400, /broken escape/],
    [{ path, action: 'stat&size=1' }, 400, /stat has no parameter "size"/],
    [{ path, action: 'stat&encoding=utf-16' }, 400, /no value for encoding/],
    [{ path, action: 'stat&encoding=atend' }, 400, /no value for encoding/],
    [{ path, action: 'upload&size=atend' }, 400, /no value for size/],
    [{ path, action: 'upload&md5=abc' }, 400, /no value for md5/],
    [{ path, action: 'rename' }, 400, /rename needs destination/],
    [{ path, action: `rename&destination=${cpCode}%2Fb` }, 400, /no value for destination/],
    [{ path, action: 'quick-delete' }, 400, /quick-delete needs quick-delete/],
    [{ path, action: 'stat', method: 'PUT' }, 403, /stat is not done by PUT/],
    [{ path, action: 'delete', method: 'GET' }, 403, /delete is not done by GET/],
    [{ path, action: 'upload', method: 'POST' }, 403, /upload is not done by POST/],
    [{ path, action: 'download', method: 'POST' }, 403, /download is not done by POST/]
  ]
  for (const [request, status, reason] of cases) {
    const answer = await ask(origin, request)
    t.match(answer, { status, text: reason, headers: { 'content-type': 'text/plain', server: 'AkamaiNetStorage' } })
    t.match(log.at(-1), { status, reason, path: request.path })
  }
  for (const [missing, reason] of [['Action', /not an API call/], ['Auth-Data', /is missing/], ['Auth-Sign', /is missing/]] as const) {
    const headers = signed(path, 'version=1&action=stat')
    delete headers[`X-Akamai-ACS-${missing}`]
    const response = await fetch(origin + path, { headers })
    t.equal(response.status, 403)
    t.match(await response.text(), reason, missing)
  }
  t.same(store.names(), [])
})

t.test('what real clients do beside the rules is let in', async t => {
  const { origin } = await start(t, { lenientParameters: true })
  const path = `/${cpCode}/a`
  const accepted: SignedRequest[] = [
    { path, action: 'upload&upload-type=binary', body: 'x', headers: { Expect: '100-continue' } },
    { path, action: 'stat&format=sql', headers: { 'X-Akamai-NSKit': 'Java' } },
    { path, action: 'action=stat&format=xml&version=1' },
    { path, action: 'stat&strange=1' },
    { path: `/%31${String(cpCode).slice(1)}/%61`, action: 'stat' }
  ]
  for (const request of accepted) t.equal((await ask(origin, request)).status, 200, request.action)
  const headers = Object.fromEntries(Object.entries(signed(path, 'version=1&action=stat')).map(([name, value]) => [name.toUpperCase(), ` ${value}\t`]))
  t.equal((await fetch(origin + path, { headers })).status, 200, 'names in any case, blanks around values')
})

t.test('a space in the request line is a bad request', async t => {
  const { port } = await start(t)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /123456/a b HTTP/1.1\r\nHost: a\r\n\r\n')
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  t.match(answer, /^HTTP\/1\.1 400 /)
})

t.test('a request may be answered once only, where the switch says so', async t => {
  const path = `/${cpCode}/a`
  const sign = { id: 'same', nowSeconds: Math.floor(Date.now() / 1000) }
  const strict = await start(t, { replayCheck: true })
  t.equal((await ask(strict.origin, { path, action: 'list', sign })).status, 404)
  t.match(await ask(strict.origin, { path, action: 'list', sign }), { status: 403, text: /was here before/ })
  t.equal((await ask(strict.origin, { path, action: 'list', sign: { ...sign, id: 'other' } })).status, 404)
  const upload = { path, action: 'upload&md5=atend', body: ['x'], headers: { 'Transfer-Encoding': 'chunked' }, trailers: 'upload&md5=9dd4e461268c8034f5c8564e155c67a6' }
  t.match(await ask(strict.origin, { ...upload, sign: { ...sign, id: 'again' } }), { status: 403, text: /trailers: this request was here before/ })
  t.equal((await ask(strict.origin, upload)).status, 200)
  const open = await start(t)
  for (const time of ['first', 'second']) t.equal((await ask(open.origin, { path, action: 'list', sign })).status, 404, time)

  const guard = new ReplayGuard()
  t.notOk(guard.isReplay('a', 1000, 60))
  t.ok(guard.isReplay('a', 1120, 60), 'remembered while its time could be good')
  t.notOk(guard.isReplay('a', 1121, 60), 'and forgotten then')
})

t.test('more requests than the rate are told so, reads and writes apart', async t => {
  const { origin, log } = await start(t, { writesPerSecond: 0.001, readsPerSecond: 0.002 })
  const path = `/${cpCode}/a`
  for (const action of ['delete', 'stat']) {
    t.equal((await ask(origin, { path, action })).status, 404)
    t.equal((await ask(origin, { path, action })).status, 429)
  }
  t.match(log.at(-1), { action: 'stat', status: 429, reason: 'too many requests' })
  const bucket = new TokenBucket(2, 0)
  t.same([0, 0, 0, 499, 500, 500, 10_000, 10_000, 10_000].map(now => bucket.take(now)), [true, true, false, false, true, false, true, true, false])
  t.ok(new TokenBucket(0.1, 0).take(0), 'a slow one holds one request')
})
