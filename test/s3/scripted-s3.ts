import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What befalls the next request; the script is empty again when all are used up. */
export type Act =
  /** Passes the answer on up to this byte of its body, then resets the connection, not before `when`, or falls silent. */
  | { after: number, then: 'reset' | 'silence', when?: Promise<void> }
  /** Answers itself; with `then`, the connection breaks where the body ends. */
  | { status: number, headers?: Record<string, string>, body?: string, then?: 'reset' }
  /** Passes the request on without these headers. */
  | { without: string[] }
  | 'silence' | 'reset' | 'pass'

export interface ScriptedS3 {
  endpoint: string
  script: Act[]
  /** Method, target and the conditional headers of each request, and who it says it is from, oldest first. */
  seen: Array<{ method: string, target: string, range?: string, ifMatch?: string, userAgent: string | undefined }>
  /** Connections that are open now. */
  connections: () => Promise<number>
  close: () => Promise<void>
}

/** A front door to an S3 server which follows a script, for the faults and answers that server cannot make. */
export async function startScriptedS3 (upstream: string): Promise<ScriptedS3> {
  const script: Act[] = []
  const seen: ScriptedS3['seen'] = []
  const server = createServer((incoming, response) => {
    const { method = '', url: target = '', headers: { range, 'if-match': ifMatch, 'user-agent': userAgent } } = incoming
    seen.push({ method, target, userAgent, ...(range === undefined ? {} : { range }), ...(ifMatch === undefined ? {} : { ifMatch }) })
    const act = script.shift() ?? 'pass'
    if (act === 'silence') return
    if (act === 'reset') incoming.socket.resetAndDestroy()
    else if (typeof act === 'object' && 'status' in act) {
      response.writeHead(act.status, act.headers)
      if (act.then === 'reset') response.write(act.body ?? '', () => { incoming.socket.destroy() })
      else response.end(act.body)
    } else forward(upstream, incoming, response, act)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    script,
    seen,
    connections: () => new Promise((resolve, reject) => server.getConnections((error, count) => error === null ? resolve(count) : reject(error))),
    close: () => new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }
}

function forward (upstream: string, incoming: IncomingMessage, response: ServerResponse, act: Act): void {
  const headers = { ...incoming.headers }
  if (typeof act === 'object' && 'without' in act) for (const name of act.without) delete headers[name]
  const { hostname, port } = new URL(upstream)
  incoming.pipe(request({ hostname, port, path: incoming.url, method: incoming.method, headers, agent: false }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    if (typeof act !== 'object' || !('after' in act)) answer.pipe(response)
    else answer.on('data', breakOff(response, act))
  }))
}

/** Lets `after` bytes through and waits until they have left, so that the reset does not overtake them. */
function breakOff (response: ServerResponse, { after, then, when = Promise.resolve() }: Extract<Act, { after: number }>): (chunk: Buffer) => void {
  let left = after
  const reset = () => { setTimeout(() => response.socket?.resetAndDestroy(), 20) }
  return (chunk) => {
    if (left < 0) return
    const part = chunk.subarray(0, left)
    left -= part.length
    if (left > 0) response.write(part)
    else {
      left = -1
      response.write(part, () => { if (then === 'reset') when.then(reset, reset) })
    }
  }
}
