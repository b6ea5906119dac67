import { appendFileSync } from 'node:fs'
import { Socket, type TcpSocketConnectOpts } from 'node:net'

/**
 * Runs in a process before anything else of it: notes each connection it opens, by host and port, in the file DETOUR_LOG,
 * and leads it to port DETOUR_PORT of this machine instead. Names are resolved nowhere; TLS still proves the real ones.
 */
const { DETOUR_LOG: log = '', DETOUR_PORT: port = '' } = process.env
type Connect = (this: Socket, ...args: unknown[]) => Socket
const prototype = Socket.prototype as unknown as { connect: Connect }
const connect = prototype.connect

prototype.connect = function (...args) {
  // Node hands it either what the caller gave, or a list in which it has put that in order.
  const list = Array.isArray(args[0]) ? args[0] as unknown[] : args
  const options = list[0] as TcpSocketConnectOpts
  if (options?.port !== undefined) {
    appendFileSync(log, `${options.host ?? 'localhost'}:${options.port}\n`)
    list[0] = { ...options, host: '127.0.0.1', port: Number(port), lookup: undefined }
  }
  return connect.apply(this, args)
}
