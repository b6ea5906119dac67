import { buildApp } from './app.ts'
import { ConfigError, loadConfig } from './config.ts'

/** The process: environment, listen, signals. Nothing else. */
async function main (): Promise<void> {
  const config = loadConfig(process.env)
  const app = await buildApp(config)
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) return
    stopping = true
    app.log.info({ signal }, 'stopping: running copies may finish')
    app.beginStop()
    app.close().then(() => { process.exit(0) }, error => {
      app.log.error({ err: error }, 'the stop failed')
      process.exit(1)
    })
  }
  process.on('SIGTERM', () => { stop('SIGTERM') })
  process.on('SIGINT', () => { stop('SIGINT') })
  await app.listen({ host: config.host, port: config.port })
}

main().catch((error: Error) => {
  process.stderr.write(`${error instanceof ConfigError || error.name === 'StoreRefused' ? error.message : error.stack ?? String(error)}\n`)
  process.exit(1)
})
