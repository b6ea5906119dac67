import { isMethodFor, isRead, parseAction, type Action } from './action.ts'
import { refuse, type Answer } from './answer.ts'
import { readSignedValues, verify, type Account, type SignedValues } from './auth.ts'
import { cpCodeOf, tooLong, type ByteName } from './names.ts'
import { ReplayGuard } from './replay.ts'
import { TokenBucket } from './token-bucket.ts'

/** What the gate lets pass. */
export interface GateOptions {
  accounts: readonly Account[]
  /** How far the clock of a client may be off, either way (60). */
  clockWindowSeconds?: number
  /** Refuse a request, or trailers, whose account, time and id were seen before (no: no text says that Akamai does). */
  replayCheck?: boolean
  /** Let parameters pass that an action does not know (no: 400). */
  lenientParameters?: boolean
  /** Longest path below the CP code, in bytes (1024; Akamai's own limit is not known). */
  maxPathBytes?: number
  /** Longest part between two slashes, in bytes (no limit but the path's). */
  maxComponentBytes?: number
  /** Requests above this are answered 429 (no limit). */
  writesPerSecond?: number
  readsPerSecond?: number
}

/** A request that may pass, or the answer that refuses it; the action as far as it was understood. */
export type Admission = { action: Action, verifyTrailers: (late: SignedValues) => string | undefined } | { refused: Answer, action?: Action }

/** The checks in their order: signature, clock, action, method, path, rate. `name` is the path decoded, undefined where it cannot be. */
export function createGate (options: GateOptions, nowMs: () => number) {
  const { accounts, clockWindowSeconds: windowSeconds = 60, maxPathBytes = 1024, maxComponentBytes = Infinity } = options
  const replay = new ReplayGuard()
  const bucket = (perSecond: number | undefined) => perSecond === undefined ? undefined : new TokenBucket(perSecond, performance.now())
  const limits = { read: bucket(options.readsPerSecond), write: bucket(options.writesPerSecond) }

  function check (path: string, signed: SignedValues): ReturnType<typeof verify> {
    const nowSeconds = nowMs() / 1000
    const known = verify(path, signed, { accounts, nowSeconds, windowSeconds })
    if (known.refusal === undefined && options.replayCheck === true && replay.isReplay(known.once, nowSeconds, windowSeconds)) return { refusal: 'this request was here before' }
    return known
  }

  return function admit (method: string, path: string, name: ByteName | undefined, rawHeaders: string[]): Admission {
    const signed = readSignedValues(rawHeaders)
    if ('refusal' in signed) return { refused: refuse(403, signed.refusal) }
    if (path.includes('?')) return { refused: refuse(400, 'the API takes no query') }
    const known = check(path, signed)
    if (known.refusal !== undefined) return { refused: refuse(403, known.refusal) }
    const action = parseAction(signed.action, options.lenientParameters ?? false)
    if (typeof action === 'string') return { refused: refuse(400, action) }
    const no = (status: number, reason: string): Admission => ({ refused: refuse(status, reason), action })
    if (!isMethodFor(action.name, method)) return no(403, `${action.name} is not done by ${method}`)
    if (name === undefined) return no(400, 'the path has a broken escape')
    const cpCode = cpCodeOf(name)
    if (!known.account.cpCodes.some(each => String(each) === cpCode)) return no(403, 'no right to this CP code')
    const long = tooLong(name.slice(cpCode.length + 2), maxPathBytes, maxComponentBytes)
    if (long !== undefined) return no(400, long)
    if (limits[isRead(action.name) ? 'read' : 'write']?.take(performance.now()) === false) return no(429, 'too many requests')
    return { action, verifyTrailers: late => check(path, late).refusal }
  }
}
