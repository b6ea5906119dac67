import { fork } from 'node:child_process'
import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import { textToSign, type Fields } from '../../sandbox/sns/message.ts'
import { laneOf, newJobId } from '../../src/jobs/job.ts'
import { embedded } from '../../src/store/embedded.ts'
import { median } from './compare.ts'
import { bucket, cpCode } from './servers.ts'

/** Fastify that answers 200 and does nothing, in a process of its own. */
export async function startBareFastify (): Promise<{ origin: string, close: () => void }> {
  const child = fork(fileURLToPath(new URL('bare-fastify.ts', import.meta.url)), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
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

/** Milliseconds that the database takes to store so many jobs by one statement and make them durable: nothing is looked up, nothing woken. */
export async function timeCommit (jobs: number, rounds: number): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'edgeferry-bench-'))
  const log = { info () {}, warn () {}, error () {} }
  const store = await embedded({ dir, log })
  const times: number[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const now = new Date()
      const rows = Array.from({ length: jobs }, (_, index) => {
        const key = `commit/${round}/${index}.bin`
        return { id: newJobId(now.getTime()), kind: 'sync', bucket, key, rule: bucket, target: 'default', cp_code: cpCode, path: key, lane: laneOf('default', cpCode, key), request: { onMissing: 'delete' }, source: { type: 'sns' }, created_at: now }
      })
      const start = performance.now()
      await store.withTx(async tx => {
        await sql`insert into jobs (id, kind, state, bucket, key, rule, target, cp_code, path, lane, request, source, labels, timeline, created_at)
          select id, kind, 'queued', bucket, key, rule, target, cp_code, path, lane, request, source, '{}', '[]', created_at
          from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as row (id uuid, kind text, bucket text, key text, rule text, target text, cp_code int, path text, lane text, request jsonb, source jsonb, created_at timestamptz)`.execute(tx.kysely)
      })
      times.push(performance.now() - start)
    }
  } finally {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return median(times)
}
