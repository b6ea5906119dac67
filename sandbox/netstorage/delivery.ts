import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultRule } from '../kit/faults.ts'

const pieceMs = 20

/** Whether a fault keeps an answer from arriving whole. */
export function breaksAnswer (fault: FaultRule | undefined): boolean {
  return fault?.reset === 'mid-body' || fault?.hang === 'mid-body'
}

/** Writes the body of an answer as a fault wants it: at a pace, or up to a byte where the connection ends or falls silent. */
export async function deliver (response: ServerResponse, body: Buffer, fault: FaultRule): Promise<void> {
  const part = breaksAnswer(fault) ? body.subarray(0, fault.afterBytes ?? 0) : body
  const pieceBytes = fault.slow === undefined ? Infinity : Math.max(1, Math.round(fault.slow.bytesPerSecond * pieceMs / 1000))
  response.flushHeaders()
  for (let at = 0; at < part.length; at += pieceBytes) {
    response.write(part.subarray(at, at + pieceBytes))
    if (fault.slow !== undefined) await sleep(pieceMs)
  }
  if (!breaksAnswer(fault)) response.end()
  // Behind what was written, not in its place.
  else if (fault.reset === 'mid-body') response.write('', () => { response.socket?.destroy() })
}
