import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { laneOf, newJobId } from '../../src/jobs/job.ts'
import { embedded } from '../../src/store/embedded.ts'
import type { Store } from '../../src/store/store.ts'
import { bucket, cpCode } from './servers.ts'

/** An embedded database in a temporary folder, for as long as `use` takes. */
export async function withBareStore (use: (store: Store) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'edgeferry-bench-'))
  const store = await embedded({ dir, log: { info () {}, warn () {}, error () {} } })
  try {
    await use(store)
  } finally {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Stores one job for each key by one statement and makes them durable: nothing is looked up, nothing woken. */
export async function storeBare (store: Store, keys: string[]): Promise<void> {
  const now = new Date()
  const rows = keys.map(key => ({ id: newJobId(now.getTime()), kind: 'sync', bucket, key, rule: bucket, target: 'default', cp_code: cpCode, path: key, lane: laneOf('default', cpCode, key), request: { onMissing: 'delete' }, source: { type: 'sns' }, created_at: now }))
  await store.withTx(async tx => {
    await sql`insert into jobs (id, kind, state, bucket, key, rule, target, cp_code, path, lane, request, source, labels, timeline, created_at)
      select id, kind, 'queued', bucket, key, rule, target, cp_code, path, lane, request, source, '{}', '[]', created_at
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as row (id uuid, kind text, bucket text, key text, rule text, target text, cp_code int, path text, lane text, request jsonb, source jsonb, created_at timestamptz)`.execute(tx.kysely)
  })
}
