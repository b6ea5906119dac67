import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { EnvironmentSchema } from '../../src/environment.ts'

/** Runs `npm run rules -- …` as npm does, in a folder, with these variables of ours alone. Without tap's loader, which would take longer than the command. */
export async function askRules (args: string[], { cwd, env = {} }: { cwd: string, env?: Record<string, string> }): Promise<{ status: number | null, output: string, errors: string }> {
  const inherited = Object.entries(process.env).filter(([name]) => !(name in EnvironmentSchema.properties) && name !== 'INIT_CWD')
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../src/rules/main.ts', import.meta.url)), ...args], {
    cwd, env: { ...Object.fromEntries(inherited), ...env }, stdio: ['ignore', 'pipe', 'pipe']
  })
  const closed = new Promise<number | null>(resolve => { child.once('close', resolve) })
  const [output, errors, status] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  return { status, output, errors }
}
