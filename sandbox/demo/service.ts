import { spawn, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

/** The wanted port, or the next one that is free. */
export async function freePort (wanted: number): Promise<number> {
  const free = await new Promise<boolean>(resolve => {
    const server = createServer().once('error', () => { resolve(false) }).listen(wanted, '127.0.0.1', () => { server.close(() => { resolve(true) }) })
  })
  return free ? wanted : await freePort(wanted + 1)
}

/** The service as `npm start` runs it, in a process of its own; resolves when it is ready. */
export async function startService (env: Record<string, string>): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../src/server.ts', import.meta.url))], { env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit'] })
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the service ended with code ${child.exitCode}`)
    const ready = await fetch(`http://127.0.0.1:${env['PORT']}/readyz`).then(answer => answer.ok, () => false)
    if (ready) return child
    await new Promise(resolve => { setTimeout(resolve, 50) })
  }
}

/** Ends it as an operator would. */
export async function stopService (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const exited = new Promise(resolve => { child.once('exit', resolve) })
  child.kill('SIGTERM')
  await exited
}
