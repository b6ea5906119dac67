import fp from 'fastify-plugin'
import type { Config } from '../config.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Registers what takes over a fresh configuration while the service runs. */
    onReload: (take: (config: Config) => void) => void
    /** Hands a configuration that was read anew to all who can take it over: tokens, rules. */
    reload: (config: Config) => void
  }
}

/** What can change without a restart, and who is told. The configuration was checked as a whole before, so nobody refuses it halfway. */
export default fp(async app => {
  const takers: Array<(config: Config) => void> = []
  app.decorate('onReload', take => { takers.push(take) })
  app.decorate('reload', config => { for (const take of takers) take(config) })
}, { name: 'reload' })
