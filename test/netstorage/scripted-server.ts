import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'

/** What befalls one request. */
export type Act = (request: IncomingMessage, response: ServerResponse) => void

/** Answers once the request is there in full. */
export const answer = (status: number, body = '', headers: Record<string, string> = {}): Act => (request, response) => {
  request.resume().once('end', () => { response.writeHead(status, headers).end(body) })
}
/** Breaks the connection. */
export const reset: Act = request => { request.socket.resetAndDestroy() }
/** Reads on and never answers. */
export const silence: Act = request => { request.resume() }
/** Announces 100 bytes and sends a part of them; what happens then is told by `then`. */
export const half = (then: Act): Act => (request, response) => {
  request.resume()
  response.writeHead(200, { 'Content-Length': '100' }).write('<stat', () => { then(request, response) })
}

export interface ScriptedServer {
  origin: string
  /** The next requests in their order; 404 when it is used up. */
  script: Act[]
  seen: IncomingMessage[]
  /** Connections that were ever made. */
  connections: () => number
  close: () => Promise<void>
}

/** A server that does what the NetStorage emulator would not. */
export async function startScriptedServer (tls?: { key: string, cert: string }): Promise<ScriptedServer> {
  const script: Act[] = []
  const seen: IncomingMessage[] = []
  let connections = 0
  const listener: RequestListener = (request, response) => {
    seen.push(request)
    const act = script.shift() ?? answer(404)
    act(request, response)
  }
  const server: Server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener)
  server.on('connection', () => { connections++ })
  // It never ends a connection by itself: only a script or the client does.
  server.keepAliveTimeout = 0
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  return {
    origin: tls === undefined ? `http://127.0.0.1:${port}` : `localhost:${port}`,
    script,
    seen,
    connections: () => connections,
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
