import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { startNetStorage } from '../../sandbox/netstorage/server.ts'
import { makeSigningIdentity } from '../../sandbox/sns/certificate.ts'
import { createNetStorageClient, type NetStorageOptions as ClientOptions } from '../../src/netstorage/client.ts'
import { account } from '../sandbox/signed-request.ts'
import { answer, half, reset, silence, startScriptedServer, type Act } from './scripted-server.ts'

const at = { cpCode: 123456, path: 'a' }
type Tap = { teardown: (fn: () => unknown) => void }
const client = (t: Tap, hostname: string, more: Partial<ClientOptions> = {}) => {
  const made = createNetStorageClient({ hostname, keyName: account.keyName, key: account.key, ...more })
  t.teardown(() => { made.close() })
  return made
}

async function scripted (t: Tap, script: Act[], more: Partial<ClientOptions> = {}) {
  const server = await startScriptedServer()
  t.teardown(server.close)
  server.script.push(...script)
  return { ...server, client: client(t, server.origin, more) }
}

/** A server below HTTP. */
async function startTcp (t: Tap, onConnection: (socket: Socket) => void): Promise<number> {
  const server = createTcpServer(onConnection)
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

t.test('silence is an error of its own, before an answer and in the middle of one', async t => {
  for (const act of [silence, half(() => {})]) {
    const { client } = await scripted(t, [act], { stallTimeoutMs: 60 })
    await t.rejects(client.stat(at), { code: 'netstorage_silent', retryable: true, message: /^NetStorage did not move a byte for 0\.06 s during stat of \/123456\/a at 127\.0\.0\.1:\d+; it will be tried again\.$/ })
  }
})

t.test('silence on a kept connection is noticed too', async t => {
  const { client, seen, connections } = await scripted(t, [answer(404), silence], { stallTimeoutMs: 60 })
  await client.stat(at)
  await t.rejects(client.stat(at), { code: 'netstorage_silent' })
  t.equal(seen.length, 2, 'and not asked again: it may have been heard')
  t.equal(connections(), 1)
})

t.test('an answer may take its time as long as bytes come', async t => {
  const emulator = await startNetStorage({ accounts: [account] })
  t.teardown(emulator.close)
  emulator.store.put('/123456/a', 'x')
  emulator.faults.add({ slow: { bytesPerSecond: 500 } })
  t.match(await client(t, emulator.origin, { stallTimeoutMs: 120 }).stat(at), { name: 'a' })
})

t.test('a connection that is refused, or breaks before or within the answer, may work later', async t => {
  for (const [act, message] of [[reset, /broke during stat .* \(.*ECONNRESET\)/], [half(reset), /broke during stat .* \(.*\)/], [half(({ socket }) => { socket.end() }), /broke during stat .*/]] as Array<[Act, RegExp]>) {
    const { client, seen } = await scripted(t, [act])
    await t.rejects(client.stat(at), { code: 'netstorage_unavailable', retryable: true, message, cause: Error })
    t.equal(seen.length, 1)
  }
  const { client: refused, close } = await scripted(t, [])
  await close()
  await t.rejects(refused.stat(at), { code: 'netstorage_unavailable', message: /could not be reached for stat of .* \(.*ECONNREFUSED.*\); it will be tried again\. Check the host name of the target \(NS_HOSTNAME\)/ })
})

t.test('a kept connection that the other side has closed is replaced, for a question and for a delete', async t => {
  for (const action of ['stat', 'delete'] as const) {
    const { client, seen, connections } = await scripted(t, [answer(404), reset, answer(404)])
    await client.stat(at)
    t.equal(await client[action](at), action === 'stat' ? undefined : 'absent')
    t.equal(seen.length, 3)
    t.equal(connections(), 2)
  }
  const { client: many, connections } = await scripted(t, [answer(404), answer(404), reset, reset, answer(404)])
  await Promise.all([many.stat(at), many.stat(at)])
  t.equal(await many.stat(at), undefined, 'when all that were kept are gone, by a new one')
  t.equal(connections(), 3)
  const { client, seen } = await scripted(t, [answer(404), reset, reset, answer(404)])
  await client.stat(at)
  await t.rejects(client.stat(at), { code: 'netstorage_unavailable' }, 'but a new one that breaks is a fault')
  t.equal(seen.length, 3)
  const { client: second, seen: asked } = await scripted(t, [answer(404), half(reset)])
  await second.stat(at)
  await t.rejects(second.stat(at), { code: 'netstorage_unavailable' }, 'nor when the answer had begun')
  t.equal(asked.length, 2)
})

t.test('what is asked again on a new connection is a request of its own: with its permit and its signature', async t => {
  let permits = 0
  const { client, seen } = await scripted(t, [answer(404), reset, answer(404)], { admit: async () => { permits++ } })
  await client.stat(at)
  await client.stat(at)
  t.equal(seen.length, 3)
  t.equal(permits, 3)
  t.equal(new Set(seen.map(each => each.headers['x-akamai-acs-auth-data'])).size, 3, 'a server that refuses repeats refuses none of them')
})

t.test('a delete is asked right before it leaves whether it still may, each time', async t => {
  const steps: string[] = []
  const { client, seen } = await scripted(t, [answer(404), reset], { admit: async () => { steps.push('admitted') } })
  await client.stat(at)
  const beforeSend = (): void => {
    steps.push('asked')
    if (steps.length > 3) throw new Error('no more')
  }
  await t.rejects(client.delete({ ...at, beforeSend }), { message: 'no more' })
  t.same(steps, ['admitted', 'admitted', 'asked', 'admitted', 'asked'])
  t.equal(seen.length, 2)
})

t.test('a connection is kept from one request to the next', async t => {
  const { client, connections } = await scripted(t, [])
  for (let times = 0; times < 5; times++) await client.stat(at)
  t.equal(connections(), 1)
})

t.test('redirects are not followed, so that signed headers go to no other host', async t => {
  const other = await scripted(t, [])
  for (const status of [301, 302, 307, 308]) {
    const { client } = await scripted(t, [answer(status, '', { Location: `${other.origin}/123456/a` })])
    await t.rejects(client.stat(at), { code: 'netstorage_refused', retryable: false, message: /redirects are not followed/ })
  }
  t.same(other.seen, [])
})

t.test('an answer without an end in sight is cut off', async t => {
  const piece = Buffer.alloc(1024 * 1024, ' ')
  let given = 0
  const { client } = await scripted(t, [(_, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(piece)) given += piece.length
      if (!response.destroyed) response.once('drain', more)
    }
    more()
  }])
  await t.rejects(client.stat(at), { code: 'netstorage_refused', message: 'NetStorage sent more than 67108864 bytes in answer to stat of' })
  t.ok(given < 3 * 64 * 1024 * 1024)
})

t.test('an abort ends a request with its reason, before or while it waits', async t => {
  const stop = new AbortController()
  const { client, seen } = await scripted(t, [() => { stop.abort(new Error('enough')) }])
  await t.rejects(client.stat({ ...at, signal: stop.signal }), { message: 'enough' })
  await t.rejects(client.delete({ ...at, signal: stop.signal }), { message: 'enough' })
  t.equal(seen.length, 1)
})

t.test('waiting for a connection of our own is no fault of the other side', async t => {
  const slow: Act = (request, response) => { setTimeout(() => { answer(404)(request, response) }, 150) }
  const { client, connections } = await scripted(t, [slow, slow], { maxSockets: 1, connectTimeoutMs: 50, stallTimeoutMs: 2000 })
  t.same(await Promise.all([client.stat(at), client.stat(at)]), [undefined, undefined])
  t.equal(connections(), 1)
})

t.test('a request that was aborted in the queue touches no connection', async t => {
  const held: Array<() => void> = []
  const { client, seen } = await scripted(t, [(request, response) => { held.push(() => { answer(404)(request, response) }) }], { maxSockets: 1 })
  const first = client.stat(at)
  const stop = new AbortController()
  const second = client.stat({ ...at, signal: stop.signal })
  while (held.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  stop.abort(new Error('enough'))
  await t.rejects(second, { message: 'enough' })
  held[0]?.()
  t.equal(await first, undefined)
  t.equal(await client.stat(at), undefined)
  t.equal(seen.length, 2)
})

t.test('a host without http:// is spoken to by TLS, whose handshake counts as connecting', async t => {
  let first: Buffer | undefined
  const port = await startTcp(t, socket => {
    socket.on('error', () => {}).once('data', data => { first = data })
    t.teardown(() => { socket.destroy() })
  })
  for (const hostname of [`127.0.0.1:${port}`, `https://127.0.0.1:${port}`]) {
    await t.rejects(client(t, hostname, { connectTimeoutMs: 80 }).stat(at), { code: 'netstorage_silent', message: /did not accept a connection for 0\.08 s.* Check the host name/ })
    t.equal(first?.[0], 0x16, 'a TLS handshake, and nothing else')
    first = undefined
  }
})

t.test('a certificate must be trusted, and then bodies and trailers pass as they do in the clear', async t => {
  // The first name is the issuer's too: a certificate that vouches for itself.
  const { pem, privateKey } = await makeSigningIdentity({ names: ['Sandbox RSA 2048', 'localhost'] }, Date.now())
  const server = await startScriptedServer({ cert: pem, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string })
  t.teardown(server.close)
  await t.rejects(client(t, server.origin).stat(at), { code: 'netstorage_unavailable', message: /self-signed certificate/ })
  t.same(server.seen, [], 'nothing was said to a stranger')
  const before = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...before, pem])
  t.teardown(() => { tls.setDefaultCACertificates(before) })
  server.script.push(answer(200), answer(404))
  const trusting = client(t, server.origin)
  const body = async function * () { yield Buffer.from('x') }
  t.same(await trusting.upload({ ...at, body: body(), sizeBytes: 1, mtime: 7 }), { md5: '9dd4e461268c8034f5c8564e155c67a6' })
  t.equal(server.seen[0]?.trailers['x-akamai-acs-action'], 'version=1&action=upload&size=1&md5=9dd4e461268c8034f5c8564e155c67a6&mtime=7')
  t.equal(await trusting.stat(at), undefined)
})
