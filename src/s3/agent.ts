import { Agent as HttpAgent, type AgentOptions } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { OnReadOpts, Socket } from 'node:net'

const readBytes = 256 * 1024

/**
 * One buffer for all that a connection ever reads (`onread` of net and tls). By default each read allocates 64 KiB of
 * its own, out of which the HTTP parser copies the body: half of all garbage, and four times the reads.
 */
function readIntoOneBuffer (): OnReadOpts {
  return {
    buffer: Buffer.allocUnsafeSlow(readBytes),
    callback (this: Socket, size: number, buffer: Uint8Array) {
      this.emit('data', buffer.subarray(0, size))
      return true
    }
  } as OnReadOpts
}

class ReadingHttpAgent extends HttpAgent {
  override createConnection (...[options, done]: Parameters<HttpAgent['createConnection']>) {
    return super.createConnection({ ...options, onread: readIntoOneBuffer() } as typeof options, done)
  }
}

class ReadingHttpsAgent extends HttpsAgent {
  override createConnection (...[options, done]: Parameters<HttpsAgent['createConnection']>) {
    return super.createConnection({ ...options, onread: readIntoOneBuffer() } as typeof options, done)
  }
}

/** Agents for downloads of any size, which cost no more than they must. */
export function createReadingAgents (options: AgentOptions) {
  return { httpAgent: new ReadingHttpAgent(options), httpsAgent: new ReadingHttpsAgent(options) }
}
