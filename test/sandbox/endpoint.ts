import { createServer, type IncomingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

/** One request as an endpoint got it. */
export interface Received { url: string, headers: IncomingHttpHeaders, body: string }

/** A plain endpoint that keeps what it receives and answers as it is told; undefined = it never answers. */
export async function startEndpoint (t: { teardown: (fn: () => Promise<void>) => unknown }, answer: (request: Received, count: number) => number | [number, Record<string, string>] | undefined = () => 200) {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => { chunks.push(chunk as Buffer) })
    request.on('end', () => {
      const one = { url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() }
      received.push(one)
      const [status, headers = {}] = [answer(one, received.length)].flat() as [number | undefined, Record<string, string>?]
      if (status !== undefined) response.writeHead(status, headers).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise(resolve => { server.close(resolve) })
  })
  return { url: `http://127.0.0.1:${port}/sns`, port, received, messages: () => received.map(each => JSON.parse(each.body) as Record<string, string>) }
}
