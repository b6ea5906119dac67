import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'

/** The service as `src/server.ts` runs it, but for a heartbeat that tests can wait for; it stops when it is killed. */
const app = await buildApp(loadConfig(process.env), { heartbeatSeconds: 3 })
await app.listen({ host: '127.0.0.1', port: 0 })
