import { fork } from 'node:child_process'
import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { textToSign, type Fields } from '../../sandbox/sns/message.ts'
import { storeBare, withBareStore } from './bare-store.ts'
import { median } from './compare.ts'
import { startEnv, startFlags } from './service.ts'

/** A server of the kit in a process of its own, started as the service is; `argument` is for itself. */
export async function startBare (file: 'bare-fastify.ts' | 'bare-intake.ts', argument = ''): Promise<{ origin: string, close: () => void }> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [argument], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: { ...process.env, ...startEnv }, execArgv: startFlags })
  const origin = await new Promise<string>(resolve => { child.once('message', said => { resolve(String(said)) }) })
  return { origin, close () { child.disconnect() } }
}

/** Milliseconds that one thread takes for one RSA verification (SHA-256, 2048 bits) of such a body. */
export function timeVerification (pem: string, bodies: Buffer[]): number {
  const key = createPublicKey(new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'pem' }))
  const signed = bodies.map(body => {
    const fields = JSON.parse(body.toString()) as Fields
    return { text: Buffer.from(textToSign(fields)), signature: Buffer.from(fields['Signature'] ?? '', 'base64') }
  })
  const start = performance.now()
  for (const { text, signature } of signed) if (!verify('sha256', text, key, signature)) throw new Error('a notification is not signed as it should be')
  return (performance.now() - start) / bodies.length
}

/** Milliseconds that the database takes to store so many jobs by one statement and make them durable. */
export async function timeCommit (jobs: number, rounds: number): Promise<number> {
  const times: number[] = []
  await withBareStore(async store => {
    for (let round = 0; round < rounds; round++) {
      const keys = Array.from({ length: jobs }, (_, index) => `commit/${round}/${index}.bin`)
      const start = performance.now()
      await storeBare(store, keys)
      times.push(performance.now() - start)
    }
  })
  return median(times)
}
