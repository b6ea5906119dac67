import { buildApp } from './app.ts'
import { ConfigError, loadConfig } from './config.ts'
import { StoreRefused } from './store/store.ts'

/** What is left of the time to stop, after the drain, for answers on their way and the database to close. */
const closingMs = 5000

/** The process: environment, listen, signals. Nothing else. */
async function main (): Promise<void> {
  const config = loadConfig(process.env)
  const app = await buildApp(config)
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) return
    stopping = true
    app.log.info({ signal }, 'stopping: running copies may finish')
    setTimeout(() => {
      app.log.error('the stop hangs: leaving; what is not done goes on at the next start')
      process.exit(1)
    }, config.shutdownTimeoutMs + closingMs).unref()
    // The listener stays until nothing runs any more, so that /readyz can say why, and nobody is refused meanwhile.
    app.drain().then(async () => { await app.close() }).then(() => { process.exit(0) }, error => {
      app.log.error({ err: error }, 'the stop failed')
      process.exit(1)
    })
  }
  process.on('SIGTERM', () => { stop('SIGTERM') })
  process.on('SIGINT', () => { stop('SIGINT') })
  process.on('SIGHUP', () => { app.reload(() => loadConfig(process.env)) })
  // Node itself would print every property of the error, and foreign errors carry requests.
  process.on('uncaughtException', error => {
    app.log.fatal({ err: error }, 'an error that nobody expected: leaving; what is not done goes on at the next start')
    process.exit(70)
  })
  try {
    await app.listen({ host: config.host, port: config.port })
  } catch (error) {
    await app.close()
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : new CannotListen(config.host, config.port, error as NodeJS.ErrnoException)
  }
}

/** The system does not let this process listen where it should. */
class CannotListen extends Error {
  constructor (host: string, port: number, { code = '', message }: NodeJS.ErrnoException) {
    super({
      EADDRINUSE: `Port ${port} of ${host} is taken by another process. Stop that one, or set PORT to a free one.`,
      EACCES: `This user may not listen on port ${port}. Set PORT to one above 1023.`
    }[code] ?? `The service cannot listen on ${host}, port ${port}: ${message}. Set HOST to an address of this machine, or to 0.0.0.0 for all of them.`)
  }
}

main().catch((error: Error) => {
  const isPlain = [ConfigError, StoreRefused, CannotListen].some(kind => error instanceof kind)
  process.stderr.write(`${isPlain ? error.message : error.stack ?? String(error)}\n`)
  process.exit(1)
})
