import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EnvironmentSchema, secrets } from '../src/environment.ts'
import { baselineFlags } from './baseline.ts'

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
 * What a child process has from us: no variable of the service that the shell happens to have, tap's hooks only where
 * coverage is measured, for they cost half of a start again, and the cache of compiled code, wherever it runs.
 */
export function inherited (): Record<string, string> {
  const ours = new Set([...Object.keys(EnvironmentSchema.properties), ...secrets.map(name => `${name}_FILE`)])
  const { NODE_OPTIONS: hooks = '', NODE_COMPILE_CACHE: cache = '', ...others } = process.env as Record<string, string>
  return {
    ...Object.fromEntries(Object.entries(others).filter(([name]) => !ours.has(name) && !name.startsWith('AWS_'))),
    ...(others['_TAPJS_PROCESSINFO_COVERAGE_'] === '1' ? { NODE_OPTIONS: hooks } : {}),
    ...(cache === '' ? {} : { NODE_COMPILE_CACHE: resolve(cache) })
  }
}

/**
 * Starts the service with this environment alone. Tap's loader follows into it only where asked for: it costs time, and
 * what is killed reports no coverage.
 * `before` is a module that runs first.
 */
export function startProcess (env: Record<string, string>, { covered = false, script = '../src/server.ts', before }: { covered?: boolean, script?: string, before?: URL } = {}): ServiceProcess {
  const child = spawn(process.execPath, [...baselineFlags, ...(covered ? process.execArgv : []), ...(before === undefined ? [] : ['--import', before.href]), fileURLToPath(new URL(script, import.meta.url))], {
    env: { ...inherited(), PORT: '0', LOG_LEVEL: 'info', ...env },
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
