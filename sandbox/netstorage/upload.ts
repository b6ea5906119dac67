import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultRule } from '../kit/faults.ts'
import { LATE_VALUES, parseAction, type Action } from './action.ts'
import { refuse, type Answer } from './answer.ts'
import { readSignedValues, type SignedValues } from './auth.ts'
import type { StoredObject } from './store.ts'

export interface UploadRules {
  keepBodiesUpTo: number
  digestMismatchStatus: number
  nowMs: () => number
  lenientParameters: boolean
  fault: FaultRule | undefined
  /** Verifies trailers as headers are verified; words = why not. */
  verifyTrailers: (signed: SignedValues) => string | undefined
}

/** What an upload came to: the object to store, or a refusal that leaves the old one, or a fault that ends it midway. */
export type Uploaded = { object: StoredObject, md5: string, bytes: number } | { answer: Answer, bytes: number } | { broken: 'cut' | 'hung', bytes: number }

/** Reads the body of an upload and checks all that was announced, up front or in trailers. Stores nothing itself. */
export async function receive (request: IncomingMessage, { params }: Action, rules: UploadRules): Promise<Uploaded> {
  const chunked = request.headers['transfer-encoding'] !== undefined
  const late = LATE_VALUES.filter(name => params[name] === 'atend')
  const stop = (answer: Answer, bytes = 0): Uploaded => ({ answer, bytes })
  if (!chunked && request.headers['content-length'] === undefined) return stop(refuse(411, 'Content-Length or Transfer-Encoding: chunked is needed'))
  if (late.length > 0 && !chunked) return stop(refuse(400, 'atend needs a chunked body'))
  const hashes = { md5: createHash('md5'), sha1: createHash('sha1'), sha256: createHash('sha256') }
  const kept: Buffer[] = []
  let bytes = 0
  const { fault } = rules
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length
    hashes.md5.update(piece)
    if (params['sha1'] !== undefined) hashes.sha1.update(piece)
    hashes.sha256.update(piece)
    if (bytes <= rules.keepBodiesUpTo) kept.push(piece)
    if (fault?.slow !== undefined) await sleep(piece.length / fault.slow.bytesPerSecond * 1000)
    if (bytes >= (fault?.afterBytes ?? 0)) {
      if (fault?.reset === 'mid-body') return { broken: 'cut', bytes }
      // From here on nothing is read, so the end of the connection is not seen either.
      if (fault?.hang === 'mid-body') return { broken: 'hung', bytes }
    }
  }
  let last = params
  if (late.length > 0) {
    const signed = readSignedValues(request.rawTrailers)
    if ('refusal' in signed) return stop(refuse(400, `trailers: ${signed.refusal}`), bytes)
    const refusal = rules.verifyTrailers(signed)
    if (refusal !== undefined) return stop(refuse(403, `trailers: ${refusal}`), bytes)
    const action = parseAction(signed.action, rules.lenientParameters)
    if (typeof action === 'string') return stop(refuse(400, `trailers: ${action}`), bytes)
    const kept = (name: string) => params[name] === 'atend' ? !['atend', undefined].includes(action.params[name]) : params[name] === action.params[name]
    const strange = Object.keys({ ...params, ...action.params }).find(name => !kept(name))
    if (strange !== undefined) return stop(refuse(400, `the trailers change or leave open "${strange}"`), bytes)
    last = action.params
  }
  const digests = { md5: hashes.md5.digest('hex'), sha1: hashes.sha1.digest('hex'), sha256: hashes.sha256.digest('hex') }
  if (last['size'] !== undefined && Number(last['size']) !== bytes) return stop(refuse(rules.digestMismatchStatus, `${bytes} bytes came, not ${last['size']}`), bytes)
  for (const name of ['md5', 'sha1', 'sha256'] as const) {
    if (last[name] !== undefined && last[name].toLowerCase() !== digests[name]) return stop(refuse(rules.digestMismatchStatus, `the ${name} of what came is another one`), bytes)
  }
  const nowMs = rules.nowMs()
  const body = bytes <= rules.keepBodiesUpTo ? Buffer.concat(kept) : undefined
  const object: StoredObject = { type: 'file', sizeBytes: bytes, md5: digests.md5, sha256: digests.sha256, mtime: last['mtime'] === undefined ? Math.floor(nowMs / 1000) : Number(last['mtime']), micros: (nowMs % 1000) * 1000, ...(body === undefined ? {} : { body }) }
  return { object: spoil(object, fault), md5: digests.md5, bytes }
}

/** A store that keeps other bytes than it acknowledged: as many, or half. Of bytes that were not kept it has none. */
function spoil (object: StoredObject, fault: FaultRule | undefined): StoredObject {
  const half = Math.floor(object.sizeBytes / 2)
  const keeping = (body: Buffer, sizeBytes: number) => ({ ...object, md5: createHash('md5').update(body).digest('hex'), sha256: createHash('sha256').update(body).digest('hex'), body, sizeBytes })
  if (fault?.kind === 'corrupt-store') return keeping(Buffer.from('x'.repeat(Math.min(object.sizeBytes, 1000))), object.sizeBytes)
  if (fault?.kind === 'truncate-store') return keeping(object.body?.subarray(0, half) ?? Buffer.alloc(0), half)
  return object
}
