import fp from 'fastify-plugin'
import { ConfigError, type Config } from '../config.ts'

/** Why the last reload changed nothing, and since when what is in force may not be what is written. */
export interface Refusal { since: Date, faults: string[] }

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Registers what takes over a fresh configuration while the service runs: tokens, rules. All prepare before any
     * takes; a preparation may fail, and then nothing changes.
     */
    onReload: (take: (config: Config) => void, prepare?: (config: Config) => Promise<void>) => void
    /** Reads a configuration anew and puts it in force as a whole, or not at all; resolves to which of the two. */
    reload: (read: () => Config) => Promise<boolean>
    /** Undefined if what was last read is in force. */
    reloadRefusal: () => Refusal | undefined
  }
}

/** What can change without a restart, and who is told. */
export default fp<{ now: () => Date }>(async (app, { now }) => {
  const takers: Array<{ take: (config: Config) => void, prepare: ((config: Config) => Promise<void>) | undefined }> = []
  let refusal: Refusal | undefined
  let turn: Promise<unknown> = Promise.resolve()

  async function reload (read: () => Config): Promise<boolean> {
    try {
      const fresh = read()
      for (const { prepare } of takers) await prepare?.(fresh)
      for (const { take } of takers) take(fresh)
      refusal = undefined
      for (const warning of fresh.warnings) app.log.warn(warning)
      app.log.info('read anew what can change while the service runs')
      return true
    } catch (error) {
      const faults = error instanceof ConfigError ? error.faults : [(error as Error).message]
      refusal = { since: refusal?.since ?? now(), faults }
      app.log.error({ faults }, 'what was read anew is refused, so all stays as it was')
      return false
    }
  }

  app.decorate('onReload', (take, prepare) => { takers.push({ take, prepare }) })
  app.decorate('reloadRefusal', () => refusal)
  // One after the other: of two that overlap, the older could stay.
  app.decorate('reload', async read => {
    const mine = turn.then(async () => await reload(read))
    turn = mine
    return await mine
  })
}, { name: 'reload' })
