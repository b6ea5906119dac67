import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EnvironmentSchema, secrets } from '../src/environment.ts'
import { baselineOnly } from './data-dir.ts'

/** A real process of the service, as an operator starts it. */
export interface ServiceProcess {
  /** Where it listens; rejects with all it wrote if it ends before. */
  origin: Promise<string>
  /** All it wrote so far, to both streams. */
  output: () => string
  kill: (signal: NodeJS.Signals) => void
  /** Exit status, or the name of the signal that ended it. */
  exited: Promise<number | NodeJS.Signals>
}

/**
 * Starts the service with this environment alone: variables of ours that the shell happens to have are left out. Tap's
 * loader and coverage follow into it only where asked for: they cost a start again, and what is killed reports nothing.
 * `before` is a module that runs first.
 */
export function startProcess (env: Record<string, string>, { covered = false, script = '../src/server.ts', before }: { covered?: boolean, script?: string, before?: URL } = {}): ServiceProcess {
  const ours = new Set([...Object.keys(EnvironmentSchema.properties), ...secrets.map(name => `${name}_FILE`)])
  const inherited = Object.entries(process.env).filter(([name]) => !ours.has(name) && !name.startsWith('AWS_') && (covered || name !== 'NODE_OPTIONS'))
  const child = spawn(process.execPath, [...baselineOnly, ...(covered ? process.execArgv : []), ...(before === undefined ? [] : ['--import', before.href]), fileURLToPath(new URL(script, import.meta.url))], {
    env: { ...Object.fromEntries(inherited), PORT: '0', LOG_LEVEL: 'info', ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let text = ''
  const listening = Promise.withResolvers<string>()
  const exited = Promise.withResolvers<number | NodeJS.Signals>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
      const origin = /Server listening at (http:[^"]+)/.exec(text)?.[1]
      if (origin !== undefined) listening.resolve(origin)
    })
  }
  child.once('close', (code, signal) => {
    listening.reject(new Error(`the service ended with ${code ?? signal} before it listened:\n${text}`))
    exited.resolve(code ?? signal ?? 'SIGKILL')
  })
  // Whoever only waits for the end does not ask where it listens.
  listening.promise.catch(() => {})
  return { origin: listening.promise, output: () => text, kill (signal) { child.kill(signal) }, exited: exited.promise }
}

/** Resolves when a state is reached; what reaches it is another process, so there is nothing to listen to. A question that costs the service time is asked less often. */
export async function until (reached: () => boolean | Promise<boolean>, what: string, timeoutMs = 120_000, everyMs = 2): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!await reached()) {
    if (performance.now() > deadline) throw new Error(`not reached: ${what}`)
    await new Promise(resolve => { setTimeout(resolve, everyMs) })
  }
}
