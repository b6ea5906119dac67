import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One POST that passed. */
export interface Passed { headers: IncomingMessage['headers'], body: string, status: number }

/** The address that events are pushed to, whichever process serves it now; it answers 502 where none does, as load balancers do. */
export interface Balancer {
  origin: string
  /** What passed, oldest first. */
  passed: Passed[]
  /** From now on, requests go there; to nobody if undefined. */
  leadTo: (serviceOrigin: string | undefined) => void
  close: () => Promise<void>
}

/** The gateway repeats what is refused at once, and a race in release 16 stops its queue if the refusal comes too fast. */
const refusalMs = 500

/** Starts it on a free port. */
export async function startBalancer (): Promise<Balancer> {
  let target: string | undefined
  const passed: Passed[] = []
  const server = createServer((incoming, outgoing) => {
    const pieces: Buffer[] = []
    incoming.on('data', (piece: Buffer) => { pieces.push(piece) }).once('end', () => {
      const body = Buffer.concat(pieces)
      const answer = (status: number): void => {
        passed.push({ headers: incoming.headers, body: body.toString(), status })
        outgoing.writeHead(status).end()
      }
      const refuse = (): void => { setTimeout(answer, refusalMs, 502) }
      if (target === undefined) return refuse()
      const { host: _, ...headers } = incoming.headers
      request(`${target}${incoming.url}`, { method: 'POST', headers }, response => {
        response.resume().once('end', () => { answer(response.statusCode ?? 502) })
      }).once('error', refuse).end(body)
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed,
    leadTo (serviceOrigin) { target = serviceOrigin },
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => { server.close(resolve) })
    }
  }
}
