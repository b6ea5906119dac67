import { connect } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { makeSigningIdentity } from '../../sandbox/sns/certificate.ts'

/** Where real host names lead to: TLS ends here, and the bytes go on to the server of the name the client asked for. */
export interface Front {
  port: number
  /** The certificate that proves all the names, to be trusted. */
  pem: string
  /** Names that were asked for, one for each connection that came as far as TLS. */
  asked: string[]
  close: () => Promise<void>
}

/** Starts it in front of servers, by the port of each name. Whatever has no port is hung up on. */
export async function startFront (ports: Record<string, number>): Promise<Front> {
  // Named like its issuer it is its own authority.
  const { privateKey, pem } = await makeSigningIdentity({ names: ['Sandbox RSA 2048', ...Object.keys(ports)] }, Date.now())
  const asked: string[] = []
  const open = new Set<TLSSocket>()
  const server = createServer({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem }, socket => {
    const name = String((socket as TLSSocket & { servername: string | false }).servername)
    asked.push(name)
    open.add(socket)
    const port = ports[name]
    if (port === undefined) return socket.destroy()
    const inner = connect(port, '127.0.0.1')
    socket.pipe(inner).pipe(socket)
    socket.on('error', () => { inner.destroy() }).once('close', () => { inner.destroy(); open.delete(socket) })
    inner.on('error', () => { socket.destroy() }).once('close', () => { socket.destroy() })
  })
  // Whoever does not trust us hangs up.
  server.on('tlsClientError', () => {})
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return {
    port: (server.address() as AddressInfo).port,
    pem,
    asked,
    async close () {
      for (const socket of open) socket.destroy()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
