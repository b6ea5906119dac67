import fp from 'fastify-plugin'
import type { FastifyRequest } from 'fastify'
import { createBrake } from '../access/brake.ts'
import { anybody, demand, findCaller, readSecret, type Caller } from '../access/caller.ts'
import type { Scope } from '../access/tokens.ts'
import { AppError } from '../errors.ts'
import type { Config } from '../config.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope a caller needs, or several of which one is enough; absent = open to all. */
    scope?: Scope | readonly Scope[]
    /** The secret may come as `?token=` too, from senders that can set no header. */
    tokenInQuery?: boolean
  }
  interface FastifyRequest {
    /** Who calls, known once the route's scope was checked. */
    caller: Caller
  }
  interface FastifyInstance {
    /** Whether a token by this name still opens the service; without tokens, always. */
    isTokenValid: (name: string | undefined) => boolean
  }
}

/**
 * Tokens, and the loopback rule where there are none. A right secret always passes, so that nobody who fails from the
 * same address can lock its owner out; failures beyond a few are answered 429 without a word about the secret.
 */
export default fp<{ config: Pick<Config, 'tokens'>, now: () => Date }>(async (app, { config, now }) => {
  let { tokens } = config
  const brake = createBrake({ burst: 20, secondsEach: 3, maxAddresses: 10_000 })
  app.onReload(fresh => { tokens = fresh.tokens })
  app.decorate('isTokenValid', name => {
    if (tokens === 'open' || tokens.length === 0) return true
    return tokens.some(token => token.name === name && (token.expiresAt === undefined || token.expiresAt > now()))
  })
  app.decorateRequest('caller')
  app.addHook('onRequest', async request => {
    request.caller = anybody
    const { scope, tokenInQuery } = request.routeOptions.config
    if (scope === undefined || tokens === 'open') return
    if (tokens.length === 0) {
      refuseStrangers(request)
      return
    }
    const secret = readSecret(request.headers.authorization) ?? (tokenInQuery === true ? readQuery(request.query) : undefined)
    const caller = secret === undefined ? undefined : findCaller(tokens, secret, now())
    if (caller !== undefined && caller !== 'expired') {
      request.caller = caller
      demand(caller, [scope].flat(), `${request.method} ${request.routeOptions.url} needs it`)
      return
    }
    const waitSeconds = secret === undefined ? 0 : brake.fail(request.ip)
    if (waitSeconds > 0) throw new AppError('too_many_requests', 'Too many wrong secrets came from this address: wait, and check the secret.', { retryAfterSeconds: waitSeconds })
    throw new AppError('unauthorized', secret === undefined
      ? 'Send "Authorization: Bearer <secret>" with the secret of one of the API tokens.'
      : caller === 'expired' ? 'The token has expired: ask for a new one.' : 'The secret belongs to no API token.')
  })
}, { name: 'auth', dependencies: ['problem', 'reload'] })

/** The secret in a query string, which nobody has validated yet: given twice it is none. */
function readQuery (query: unknown): string | undefined {
  const { token } = query as { token?: unknown }
  return typeof token === 'string' ? token : undefined
}

/** A browser page or a proxy on this machine could reach loopback on a stranger's behalf. */
function refuseStrangers (request: FastifyRequest): void {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '')
  const header = Object.keys(request.headers).find(name => /^(forwarded|via|x-forwarded-.+)$/.test(name))
  if (['127.0.0.1', 'localhost', '[::1]'].includes(host) && header === undefined) return
  throw new AppError('proxy_without_tokens', `This service has no API_TOKENS and serves this machine only, but the request came ${header === undefined ? `for host "${host}"` : `with a ${header} header`}. Set API_TOKENS=name:secret and call with a bearer token.`)
}
