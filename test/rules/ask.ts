import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { inherited } from '../process.ts'

/** Runs `npm run rules -- …` as npm does, in a folder, with these variables of ours alone. */
export async function askRules (args: string[], { cwd, env = {} }: { cwd: string, env?: Record<string, string> }): Promise<{ status: number | null, output: string, errors: string }> {
  const { INIT_CWD: _, ...others } = inherited()
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../src/rules/main.ts', import.meta.url)), ...args], {
    cwd, env: { ...others, ...env }, stdio: ['ignore', 'pipe', 'pipe']
  })
  const closed = new Promise<number | null>(resolve => { child.once('close', resolve) })
  const [output, errors, status] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  return { status, output, errors }
}
