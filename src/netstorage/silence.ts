import type { ClientRequest } from 'node:http'

/** Into how many looks a silence is cut; it is noticed at most one look late. */
const looks = 4

/**
 * Calls `onSilence` when no byte has moved in either direction for `ms` although the other side is at turn: it has bytes
 * to take, or owes an answer. A source that is slow to give the next bytes is no silence. Returns what ends the watch.
 */
export function watchSilence (outgoing: ClientRequest, ms: number, onSilence: () => void): () => void {
  let seen = bytesMoved(outgoing)
  let quiet = 0
  const timer = setInterval(() => {
    const moved = bytesMoved(outgoing)
    const theirTurn = outgoing.writableEnded || outgoing.writableLength > 0
    quiet = moved === seen && theirTurn ? quiet + 1 : 0
    seen = moved
    if (quiet >= looks) onSilence()
  }, ms / looks)
  return () => { clearInterval(timer) }
}

/** Bytes that came in or left; what waits in a buffer of ours has not. */
function bytesMoved ({ socket }: ClientRequest): number {
  return (socket?.bytesRead ?? 0) + (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0)
}
