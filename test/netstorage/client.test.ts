import t from 'tap'
import { startNetStorage, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import { createNetStorageClient, type NetStorageClient, type NetStorageOptions as ClientOptions } from '../../src/netstorage/client.ts'
import type { Entry } from '../../src/netstorage/response.ts'
import { account, ask } from '../sandbox/signed-request.ts'
import { answer, startScriptedServer } from './scripted-server.ts'

const cpCode = 123456
type Tap = { teardown: (fn: () => Promise<void>) => void }

async function start (t: Tap, { client: more, ...options }: Partial<NetStorageOptions> & { client?: Partial<ClientOptions> } = {}) {
  const emulator = await startNetStorage({ accounts: [{ ...account }], ...options })
  const offsets: number[] = []
  const requests: Array<{ action: string, status: number, durationMs: number }> = []
  const client = createNetStorageClient({ hostname: emulator.origin, keyName: account.keyName, key: account.key, onClockOffset: seconds => { offsets.push(seconds) }, onRequest: request => { requests.push(request) }, ...more })
  t.teardown(async () => {
    client.close()
    await emulator.close()
  })
  return { ...emulator, client, offsets, requests, put (...paths: string[]) { for (const path of paths) emulator.store.put(`/${cpCode}/${path}`, 'x', { mtime: 5 }) } }
}

async function scripted (t: Tap) {
  const server = await startScriptedServer()
  const client = createNetStorageClient({ hostname: server.origin, keyName: account.keyName, key: account.key })
  t.teardown(async () => {
    client.close()
    await server.close()
  })
  return { ...server, client }
}
async function all (entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const found: Entry[] = []
  for await (const entry of entries) found.push(entry)
  return found
}
const list = async (client: NetStorageClient, path: string) => await all(client.list({ cpCode, path }))
const dir = async (client: NetStorageClient, path: string) => await all(client.dir({ cpCode, path }))

const oddNames = ['a b', 'a+b', '100%', '100%25', '日本/é😀', "it's (v1.0), [x]; ~me@home:80!*$", 'q?a=1&b=2#frag', '<&">', './../x', 'a//b', 'tab\tnew\nline']

t.test('what is at a path is seen, deleted and then absent, whatever its name', async t => {
  const { client, put, store } = await start(t)
  for (const path of oddNames) {
    put(path)
    t.match(await client.stat({ cpCode, path }), { type: 'file', name: path.split('/').at(-1), sizeBytes: 1, md5: '9dd4e461268c8034f5c8564e155c67a6', mtime: 5 }, path)
    t.equal(await client.delete({ cpCode, path }), 'deleted')
    t.equal(store.get(`/${cpCode}/${path}`), undefined)
    t.equal(await client.delete({ cpCode, path }), 'absent')
    t.equal(await client.stat({ cpCode, path }), undefined)
  }
  t.match(await client.stat({ cpCode, path: '' }), { type: 'dir', name: String(cpCode) }, 'the root is there though empty')
})

t.test('a directory is read over as many pages as it takes, names of any bytes included', async t => {
  for (const pageSize of [1, 2, 1000]) {
    const { client, put, origin, log } = await start(t, { pageSize })
    put('d/File2', 'd/dir1/x', 'd/sub/', 'd/é', 'd/zz & more+', 'd/日本', 'other')
    for (const name of ['caf%E9', 'caf%E9%2B2', '%FF', 'a%01b']) await ask(origin, { path: `/${cpCode}/d/${name}`, action: 'upload' })
    const entries = await dir(client, 'd')
    t.same(entries.map(({ name }) => name), ['File2', 'a\u0001b', 'caf\ufffd', 'caf\ufffd+2', 'dir1', 'sub', 'zz & more+', 'é', '日本', '\ufffd'], `${pageSize} a page`)
    t.same(entries.filter(({ lossy }) => lossy).length, 3)
    t.match(entries.find(({ name }) => name === 'dir1'), { type: 'dir', implicit: true })
    t.equal(log.filter(({ action, status }) => action === 'dir' && status === 200).length, Math.ceil(10 / pageSize))
  }
})

t.test('a listing holds what lies below, not what is called alike', async t => {
  for (const pageSize of [1, 3, 1000]) {
    const { client, put, origin } = await start(t, { pageSize })
    put('img/', 'img/b', 'img/a b/+%é', 'img/made/', 'img/z/日本', 'img-old/x', 'img.png', 'img0', 'img00', 'j')
    await ask(origin, { path: `/${cpCode}/img/caf%E9/x`, action: 'upload' })
    const below = ['img/a b/+%é', 'img/b', 'img/caf\ufffd/x', 'img/made', 'img/z/日本']
    for (const path of ['img', 'img/']) t.same((await list(client, path)).map(({ name }) => name), below, `${path}, ${pageSize} a page`)
    t.same((await list(client, '')).map(({ name }) => name), ['img-old/x', 'img.png', 'img', ...below, 'img0', 'img00', 'j'])
    t.same(await list(client, 'nowhere'), [])
  }
})

t.test('a reader that has seen enough asks for no further page', async t => {
  const { client, put, log } = await start(t, { pageSize: 1 })
  put('a', 'b', 'c')
  for await (const { name } of client.list({ cpCode, path: '' })) if (name === 'b') break
  t.equal(log.length, 2)
})

t.test('dir of a file or of nothing, and a foreign CP code, are told apart', async t => {
  const { client, put } = await start(t)
  put('file')
  await t.rejects(dir(client, 'file'), { code: 'netstorage_refused', message: /412 to dir of \/123456\/file.*a file, not a directory/ })
  await t.rejects(dir(client, 'none'), { code: 'netstorage_refused', message: /404 to dir/ })
  await t.rejects(client.stat({ cpCode: 7, path: 'a' }), { code: 'netstorage_forbidden', credentials: true })
})

t.test('a clock that is off is corrected once for all, and heard of once', async t => {
  for (const offset of [90, -90]) {
    const { client, put, clock, offsets, requests } = await start(t)
    put('a')
    clock.offsetSeconds = offset
    const answers = await Promise.all(Array.from({ length: 5 }, async () => await client.stat({ cpCode, path: 'a' })))
    t.ok(answers.every(entry => entry?.name === 'a'), 'each was signed again')
    t.equal(offsets.length, 1)
    t.ok(Math.abs((offsets[0] as number) - offset) <= 1)
    t.same(requests.map(({ status }) => status).sort(), [200, 200, 200, 200, 200, 403, 403, 403, 403, 403])
    await client.stat({ cpCode, path: 'a' })
    t.equal(requests.length, 11, 'and from there on signed rightly at once')
    clock.offsetSeconds = 0
    t.equal(await client.delete({ cpCode, path: 'a' }), 'deleted')
    t.equal(offsets.at(-1), 0, 'back to none when the clock is mended')
  }
  const { client, put, clock } = await start(t, { client: { onClockOffset: undefined, onRequest: undefined } })
  put('a')
  clock.offsetSeconds = 90
  t.equal((await client.stat({ cpCode, path: 'a' }))?.name, 'a', 'though nobody listens')
})

t.test('a server whose clock leaps is asked twice, not for ever', async t => {
  const { client, script, seen } = await scripted(t)
  for (const minutes of [10, 20, 30]) script.push(answer(403, '', { Date: new Date(Date.now() + minutes * 60_000).toUTCString() }))
  await t.rejects(client.stat({ cpCode, path: 'a' }), { code: 'netstorage_forbidden' })
  t.equal(seen.length, 2)
})

t.test('an upload that was refused for the clock succeeds when the caller tries again', async t => {
  const { client, store, clock, offsets } = await start(t, { client: { now: () => Date.now() - 90_000 } })
  const body = async function * () { yield Buffer.from('new') }
  const upload = async () => await client.upload({ cpCode, path: 'a', body: body(), sizeBytes: 3, mtime: 5 })
  await t.rejects(upload(), { code: 'netstorage_unavailable', retryable: true, message: /refused the time of upload .* signed (89|90|91) s from/ })
  t.equal(store.get(`/${cpCode}/a`), undefined)
  await upload()
  t.equal(store.get(`/${cpCode}/a`)?.body?.toString(), 'new')
  t.equal(offsets.length, 1)
  t.equal(clock.offsetSeconds, 0)
})

t.test('a refusal at the end of a long upload teaches a right clock nothing', async t => {
  let ms = Date.parse('2026-01-02T12:00:00.400Z')
  const { client, offsets, accounts } = await start(t, { now: () => ms, client: { now: () => ms } })
  const body = async function * () {
    yield Buffer.from('one')
    ms += 600_000
    const [mine] = accounts
    if (mine !== undefined) mine.key = 'changed meanwhile'
    yield Buffer.from('two')
  }
  await t.rejects(client.upload({ cpCode, path: 'a', body: body(), sizeBytes: 6, mtime: 5 }), { code: 'netstorage_forbidden' })
  t.same(offsets, [])
})

t.test('a wrong key is told by its name, never by itself, and not tried twice', async t => {
  const { client, log } = await start(t, { client: { key: 'a-key-that-must-not-show' } })
  const body = async function * () { yield Buffer.from('new') }
  for (const attempt of [client.stat({ cpCode, path: 'a' }), client.upload({ cpCode, path: 'a', body: body(), sizeBytes: 3, mtime: 5 })]) {
    const error = await attempt.then(() => undefined, (error: Error) => error)
    t.match(error, { code: 'netstorage_forbidden', message: /key name svc-upload/ })
    t.notMatch(`${String(error)} ${JSON.stringify(error)} ${error?.stack}`, /must-not-show|Auth-Sign/)
  }
  t.same(log.map(({ status }) => status), [403, 403])
})

t.test('every request is counted with its action and status, 0 where no answer came', async t => {
  const { client, faults, requests, put } = await start(t)
  put('a')
  await client.stat({ cpCode, path: 'a' })
  await client.delete({ cpCode, path: 'b' })
  faults.add({ reset: 'before', match: { action: 'list' } })
  await t.rejects(list(client, ''), { code: 'netstorage_unavailable' })
  t.match(requests, [{ action: 'stat', status: 200 }, { action: 'delete', status: 404 }, { action: 'list', status: 0 }])
  t.ok(requests.every(({ durationMs }) => durationMs > 0))
})

t.test('too many requests say when to come back, other faults of the server that it may work later', async t => {
  const { client, faults } = await start(t)
  faults.add({ times: 1, status: 429, headers: { 'Retry-After': '7' } })
  await t.rejects(client.stat({ cpCode, path: 'a' }), { code: 'netstorage_unavailable', retryable: true, retryAfterSeconds: 7 })
  for (const status of [408, 423, 500, 503, 509]) {
    faults.add({ times: 1, status })
    await t.rejects(client.delete({ cpCode, path: 'a' }), { code: 'netstorage_unavailable', retryable: true, retryAfterSeconds: undefined }, String(status))
  }
  faults.add({ times: 1, status: 204 })
  t.equal(await client.delete({ cpCode, path: 'a' }), 'absent')
})

t.test('any 2xx acknowledges a delete, but only 200 shows anything', async t => {
  const { client, script } = await scripted(t)
  script.push(answer(204), answer(204))
  t.equal(await client.delete({ cpCode, path: 'a' }), 'deleted')
  await t.rejects(client.stat({ cpCode, path: 'a' }), { code: 'netstorage_unavailable', message: /answered 204 .* no answer to it/ })
})

t.test('an answer that makes no sense is a passing fault, and leads nowhere', async t => {
  const { client, script, seen } = await scripted(t)
  const stat = async () => await client.stat({ cpCode, path: 'a' })
  const page = (root: string, start: string) => answer(200, `<${root}><resume start="${start}"/></${root}>`)
  const cases: Array<[ReturnType<typeof answer>, () => Promise<unknown>, RegExp]> = [
    [answer(200, '<html>Welcome</html>'), stat, /no <stat> but <html>/],
    [answer(200, ''), stat, /root element/],
    [answer(200, '<stat><file type="file"'), stat, /makes no sense/],
    [answer(200, '<!DOCTYPE stat><stat/>'), stat, /holds a DTD/],
    [page('list', '//evil.example/123456/b'), async () => await list(client, ''), /resumes outside CP code 123456/],
    [page('list', '/1234567/b'), async () => await list(client, ''), /resumes outside/],
    [page('list', '/123456/img/'), async () => await list(client, 'img'), /resumes where it began/],
    [page('stat', ''), async () => await dir(client, 'img'), /resumes where it began/]
  ]
  for (const [act, attempt, message] of cases) {
    script.push(act)
    await t.rejects(attempt(), { code: 'netstorage_unavailable', retryable: true, message, cause: Error })
  }
  t.equal(seen.length, cases.length, 'no further page was asked for')
  script.push(answer(200, '<stat/>'))
  t.equal(await stat(), undefined, 'a page that shows nothing')
})
