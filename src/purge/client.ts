import { AppError } from '../errors.ts'
import { serializeObjects, type PurgeObject } from './batch.ts'
import type { EdgeGridCredentials } from './credentials.ts'
import { readBody, toPurgeError } from './failures.ts'
import { readRateLimit, type RateLimit } from './rate-limit.ts'
import { createSigner, edgeGridOrigin } from './signer.ts'

export type PurgeType = 'url' | 'cpcode' | 'tag'

export interface PurgeClientOptions extends EdgeGridCredentials {
  /** Until the whole answer is here, connecting included (30000). A purge that timed out may have been accepted. */
  timeoutMs?: number
  /** Called when a request ends; `status` is 0 where no answer came. */
  onRequest?: (request: { action: 'invalidate' | 'delete', type: PurgeType, status: number, durationMs: number }) => void
}

export interface PurgeRequest {
  action: 'invalidate' | 'delete'
  type: PurgeType
  network: 'production' | 'staging'
  /** URLs and ARLs as strings, tags as strings, CP codes as numbers; at least one, and packed by `splitObjects`. */
  objects: readonly PurgeObject[]
  signal?: AbortSignal
}

/** A purge that Fast Purge accepted, all of its objects. */
export interface PurgeReceipt {
  /** Opaque; what Akamai's support asks for. */
  purgeId: string
  supportId: string
  acceptedAt: Date
  /** After which the edge is expected to have it. */
  estimatedSeconds: number
  /** What the account has left; undefined if the answer does not say. */
  rateLimit: RateLimit | undefined
}

export interface PurgeClient {
  /**
   * Sends one purge request, once. Throws `PurgeRefused`, `PurgeRateLimited`, or an AppError `purge_forbidden`,
   * `purge_unavailable` or `purge_silent`; an abort throws the signal's reason.
   */
  send (request: PurgeRequest): Promise<PurgeReceipt>
}

const nouns = { url: 'URL', cpcode: 'CP code', tag: 'tag' }

/** Akamai Fast Purge (CCU v3) for one API client. One request at a time or many: it holds no state but its credentials. */
export function createPurgeClient (options: PurgeClientOptions): PurgeClient {
  const { accountSwitchKey, timeoutMs = 30_000, onRequest } = options
  const origin = edgeGridOrigin(options.host)
  const sign = createSigner(options)
  const query = accountSwitchKey === undefined ? '' : `?accountSwitchKey=${encodeURIComponent(accountSwitchKey)}`

  /** The one door to Akamai: signs and sends, and gives whatever answer comes. */
  async function post (path: string, body: string, attempt: string, signal: AbortSignal | undefined, ended: (status: number) => void) {
    signal?.throwIfAborted()
    const timeout = AbortSignal.timeout(timeoutMs)
    const { url, ...signed } = sign(`${path}${query}`, body)
    // A redirect is never followed: the signature binds the URL.
    const init: RequestInit = { ...signed, redirect: 'manual', signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) }
    const answer = await fetch(url, init)
      .then(async (response) => ({ status: response.status, headers: response.headers, text: await response.text(), now: new Date() }))
      .catch((error: Error) => {
        ended(0)
        signal?.throwIfAborted()
        throw toSilence(error, `${attempt} at ${origin}`, timeoutMs)
      })
    ended(answer.status)
    return answer
  }

  return {
    async send ({ action, type, network, objects, signal }) {
      const attempt = `${action} ${objects.length} ${nouns[type]}${objects.length === 1 ? '' : 's'} on ${network}`
      const startedAt = performance.now()
      const answer = await post(`/ccu/v3/${action}/${type}/${network}`, serializeObjects(objects), attempt, signal,
        (status) => onRequest?.({ action, type, status, durationMs: performance.now() - startedAt }))
      const accepted = readBody(answer.text)
      // 201 must stand in the header and in the body.
      if (answer.status !== 201 || accepted?.httpStatus !== 201) throw toPurgeError({ ...answer, attempt, objects })
      const { supportId, purgeId, estimatedSeconds } = accepted
      const support = typeof supportId === 'string' ? supportId : ''
      return {
        purgeId: typeof purgeId === 'string' && purgeId !== '' ? purgeId : support,
        supportId: support,
        estimatedSeconds: typeof estimatedSeconds === 'number' && estimatedSeconds >= 0 ? estimatedSeconds : 5,
        acceptedAt: answer.now,
        rateLimit: readRateLimit(answer.headers)
      }
    }
  }
}

/** No answer at all. `fetch` says only "fetch failed": its cause says why. No more than name, code and message is kept. */
function toSilence (error: Error, attempt: string, timeoutMs: number): AppError {
  const { name, message, code = '' } = (error.cause ?? error) as Error & { code?: string | number }
  const cause = Object.assign(new Error(message), { name, code })
  if (name === 'TimeoutError' || /^UND_ERR_.*_TIMEOUT$|^ETIMEDOUT$/.test(String(code))) {
    return new AppError('purge_silent', `Fast Purge gave no answer within ${timeoutMs / 1000} s to ${attempt}. It may have been accepted; a repeat does no harm.`, { cause })
  }
  return new AppError('purge_unavailable', `Fast Purge could not be reached to ${attempt}: ${[code, message].filter((text) => text !== '').join(': ')}. Check the host name and the network.`, { cause })
}
