import { sql } from 'kysely'
import type { Store } from '../../src/store/store.ts'

/** When the past began, in steps of a second: one job each. */
const begin = new Date('2026-01-01T00:00:00Z')
const batch = 50_000

/** A job of the past by its number. */
export const pastKey = (n: number) => `folder-${n % 2000}/${n}.css`
export const pastId = (n: number) => (begin.getTime() + n * 1000).toString(16).padStart(12, '0').replace(/^(.{8})(.{4})$/, '$1-$2-7000-8000-000000000000')
export const pastTime = (n: number) => new Date(begin.getTime() + n * 1000).toISOString()

/** Puts so many finished jobs of as many objects into the tables, as years of work leave them: one of a thousand failed. */
export async function makeHistory ({ kysely }: Pick<Store, 'kysely'>, jobs: number, bucket: string): Promise<void> {
  const id = sql`(regexp_replace(lpad(to_hex((extract(epoch from ${begin}::timestamptz + n * interval '1 second') * 1000)::bigint), 12, '0'), '^(.{8})(.{4})$', '\\1-\\2') || '-7000-8000-000000000000')::uuid`
  const at = sql`${begin}::timestamptz + n * interval '1 second'`
  const key = sql`'folder-' || n % 2000 || '/' || n || '.css'`
  for (let from = 1; from <= jobs; from += batch) {
    const numbers = sql`generate_series(${from}::int, ${Math.min(from + batch - 1, jobs)}::int) as n`
    await sql`
      insert into jobs (id, kind, state, outcome, bucket, key, rule, target, cp_code, path, lane, request, source, labels, attempts, etag, size_bytes, md5, purge, error, timeline, created_at, finished_at)
      select ${id}, (array['sync', 'sync', 'sync', 'upload', 'purge'])[1 + n % 5], case when n % 1000 = 0 then 'failed' else 'succeeded' end, 'uploaded',
        ${bucket}, ${key}, 'bench', 'default', 123456, ${key}, 'default/123456/' || ${key}, '{}', '{"type": "rest", "token": "ci"}',
        case when n % 10 = 0 then array['release-' || n / 1000] else array[]::text[] end, 1, md5(n::text), 5120, md5(n::text),
        jsonb_build_object('by', 'url', 'action', 'invalidate', 'network', 'production', 'objects', jsonb_build_array('https://www.example.com/' || ${key})),
        case when n % 1000 = 0 then '{"type": "about:blank", "title": "S3 holds no such object", "status": 404, "detail": "There is no such object.", "code": "object_not_found"}'::jsonb end,
        jsonb_build_array(jsonb_build_object('at', ${at}, 'step', 'queued', 'detail', 'stored, from rest'), jsonb_build_object('at', ${at}, 'step', 'succeeded', 'detail', 'every purge is accepted')),
        ${at}, ${at}
      from ${numbers}`.execute(kysely)
    await sql`
      insert into objects (lane, target, cp_code, path, bucket, key, present, etag, size_bytes, md5, mtime, committed_at, job_id)
      select 'default/123456/' || ${key}, 'default', 123456, ${key}, ${bucket}, ${key}, true, md5(n::text), 5120, md5(n::text), 1700000000 + n, ${at}, ${id}
      from ${numbers}`.execute(kysely)
  }
  for (const table of ['jobs', 'objects', 'job_labels']) await sql`vacuum analyze ${sql.ref(table)}`.execute(kysely)
}
