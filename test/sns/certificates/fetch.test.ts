import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { makeSigningIdentity } from '../../../sandbox/sns/certificate.ts'
import { fetchCertificate } from '../../../src/sns/certificates/fetch.ts'
import { certificates } from '../vectors.ts'

async function listen (t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const serve = async (t: Test, listener: RequestListener) => `http://127.0.0.1:${await listen(t, createServer(listener))}/a.pem`

t.test('a file of at most 16 KiB comes as it is', async (t) => {
  t.equal(await fetchCertificate(await serve(t, (_, response) => response.end(certificates.commercial))), certificates.commercial)
  t.equal((await fetchCertificate(await serve(t, (_, response) => response.end('x'.repeat(16 * 1024))))).length, 16 * 1024)
})

t.test('more than 16 KiB is not read, whatever the headers say', async (t) => {
  const endless = await serve(t, (_, response) => {
    const write = () => { while (response.write('x'.repeat(1024))); }
    response.on('drain', write)
    write()
  })
  await t.rejects(fetchCertificate(endless), /more than 16384 bytes/)
})

t.test('nothing but 200 is an answer', async (t) => {
  for (const status of [204, 206, 403, 404, 500, 503]) {
    await t.rejects(fetchCertificate(await serve(t, (_, response) => response.writeHead(status).end())), { message: new RegExp(`answered ${status}`) }, `${status}`)
  }
})

t.test('a redirect is not followed', async (t) => {
  const visited: string[] = []
  const url = await serve(t, (request, response) => {
    visited.push(request.url ?? '')
    response.writeHead(302, { location: '/elsewhere.pem' }).end()
  })
  await t.rejects(fetchCertificate(url))
  t.same(visited, ['/a.pem'])
})

t.test('silence ends by itself, and by the one who asked', async (t) => {
  const url = await serve(t, () => {})
  await t.rejects(fetchCertificate(url, undefined, { timeoutMs: 50 }), { name: 'TimeoutError' })
  const stop = new AbortController()
  const fetching = fetchCertificate(url, stop.signal)
  stop.abort(new Error('stopping'))
  await t.rejects(fetching, /stopping/)
})

t.test('a server that cannot prove its name over TLS is none', async (t) => {
  const { privateKey, pem } = await makeSigningIdentity({ names: ['localhost'] }, Date.now())
  const server = createSecureServer({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem }, (_, response) => response.end(pem))
  await t.rejects(fetchCertificate(`https://localhost:${await listen(t, server)}/a.pem`), { cause: { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' } })
})
