import { createHash, timingSafeEqual } from 'node:crypto'
import fp from 'fastify-plugin'
import { AppError } from '../errors.ts'
import type { Config } from '../config.ts'

/** What a token may do. */
export type Scope = 'sync' | 'upload' | 'purge' | 'purge-wide' | 'override' | 'events' | 'read' | 'admin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope a caller needs; absent = open to all. */
    scope?: Scope
  }
  interface FastifyRequest {
    /** The name of the token that was presented, for jobs and logs. */
    token: string | undefined
  }
}

const forwarded = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-port', 'x-forwarded-server']
const digest = (text: string) => createHash('sha256').update(text).digest()

/** Bearer tokens, and the loopback rule where there are none. */
export default fp<{ config: Pick<Config, 'tokens'> }>(async (app, { config: { tokens } }) => {
  const hashes = tokens === 'open' ? [] : tokens.map(({ name, secret }) => ({ name, hash: digest(secret) }))
  app.decorateRequest('token', undefined)
  app.addHook('onRequest', async request => {
    if (request.routeOptions.config.scope === undefined || tokens === 'open') return
    if (tokens.length === 0) {
      // A browser page or a proxy on this machine could reach loopback on a stranger's behalf.
      const host = (request.headers.host ?? '').replace(/:\d+$/, '')
      const header = forwarded.find(name => request.headers[name] !== undefined)
      if (!['127.0.0.1', 'localhost', '[::1]'].includes(host) || header !== undefined) {
        throw new AppError('proxy_without_tokens', `This service has no API_TOKENS and serves this machine only, but the request came ${header === undefined ? `for host "${host}"` : `with a ${header} header`}. Set API_TOKENS=name:secret and call with a bearer token.`)
      }
      return
    }
    const given = /^Bearer ([^\s]+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given === undefined) throw new AppError('unauthorized', 'Send "Authorization: Bearer <secret>" with one of the secrets of API_TOKENS.')
    const hash = digest(given)
    const found = hashes.filter(each => timingSafeEqual(each.hash, hash))[0]
    if (found === undefined) throw new AppError('unauthorized', 'The bearer token is none of API_TOKENS.')
    request.token = found.name
  })
}, { name: 'auth', dependencies: ['problem'] })
