import { createHash } from 'node:crypto'
import { createServer, get as httpGet, type RequestListener } from 'node:http'
import { createServer as createSecureServer, get as httpsGet } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { makeSigningIdentity } from '../../sandbox/sns/certificate.ts'
import { createReadingAgents } from '../../src/s3/agent.ts'

const large = Buffer.alloc(5_000_000, Array.from({ length: 251 }, (_, index) => String.fromCharCode(index)).join(''), 'latin1')
const { privateKey, pem } = await makeSigningIdentity({ names: ['localhost'] }, Date.now())
const agents = createReadingAgents({ keepAlive: true })
const listener: RequestListener = (request, response) => { response.end(request.url === '/large' ? large : request.url) }

for (const secure of [false, true]) {
  t.test(`bytes arrive as they are, one answer after another on one connection, ${secure ? 'by https' : 'by http'}`, async t => {
    const server = secure ? createSecureServer({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem }, listener) : createServer(listener)
    const sockets = new Set<unknown>()
    server.on('request', request => { sockets.add(request.socket) })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    t.teardown(async () => { await new Promise(resolve => { server.close(resolve).closeAllConnections() }) })
    const { port } = server.address() as AddressInfo
    const read = async (path: string) => await new Promise<Buffer>((resolve, reject) => {
      const outgoing = secure
        ? httpsGet({ port, path, agent: agents.httpsAgent, rejectUnauthorized: false }, answer => { resolve(buffer(answer)) })
        : httpGet({ port, path, agent: agents.httpAgent }, answer => { resolve(buffer(answer)) })
      outgoing.on('error', reject)
    })
    for (const path of ['/first', '/large', '/last']) {
      const body = await read(path)
      t.equal(createHash('md5').update(body).digest('hex'), createHash('md5').update(path === '/large' ? large : path).digest('hex'))
    }
    t.equal(sockets.size, 1)
  })
}
