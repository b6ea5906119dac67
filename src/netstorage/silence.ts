import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'

/** Into how many looks a silence is cut; it is noticed at most one look late. */
const looks = 4

/**
 * Calls `onSilence` when no byte has moved in either direction for `ms` although the other side is at turn: it has bytes
 * to take, or owes an answer. A source that is slow to give the next bytes is no silence. Returns what ends the watch.
 */
export function watchSilence (outgoing: ClientRequest, socket: Socket, ms: number, onSilence: () => void): () => void {
  let seen = bytesMoved(socket)
  let quiet = 0
  const timer = setInterval(() => {
    const moved = bytesMoved(socket)
    const theirTurn = outgoing.writableEnded || outgoing.writableLength > 0
    quiet = moved === seen && theirTurn ? quiet + 1 : 0
    seen = moved
    if (quiet >= looks) onSilence()
  }, ms / looks)
  return () => { clearInterval(timer) }
}

/** Bytes that came in or left; what waits in a buffer of ours has not. */
function bytesMoved ({ bytesRead, bytesWritten, writableLength }: Socket): number {
  return bytesRead + bytesWritten - writableLength
}
