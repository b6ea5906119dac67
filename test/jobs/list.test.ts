import { CompiledQuery, sql } from 'kysely'
import t from 'tap'
import { selectJobs, type JobFilter } from '../../src/jobs/list.ts'
import { embedded } from '../../src/store/embedded.ts'
import { makeDataDir } from '../data-dir.ts'

t.test('with 200,000 jobs no list scans the table', async t => {
  const dir = await makeDataDir(t, { busy: true })
  const store = await embedded({ dir, log: { info () {}, warn () {}, error () {} } })
  t.teardown(async () => { await store.close() })
  // Filled before they are made, as a restore does it, the same indexes cost a third less.
  const { rows: indexes } = await sql<{ name: string, definition: string }>`
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index where indrelid = 'jobs'::regclass and not indisprimary`.execute(store.kysely)
  t.not(indexes.length, 0)
  for (const { name } of indexes) await sql.raw(`drop index ${name}`).execute(store.kysely)
  await sql`
    insert into jobs (id, kind, state, bucket, key, lane, request, source, labels, timeline, created_at)
    select (regexp_replace(lpad(to_hex((extract(epoch from '2026-01-01'::timestamptz + n * interval '1 second') * 1000)::bigint), 12, '0'), '^(.{8})(.{4})$', '\\1-\\2') || '-7000-8000-000000000000')::uuid,
      (array['sync', 'upload', 'purge'])[1 + n % 3],
      case when n % 1000 = 0 then 'failed' when n > 199900 then 'queued' else 'succeeded' end,
      'bucket-' || n % 3, 'folder-' || n % 200 || '/' || n || '.css', 'default/1/' || n,
      '{}', '{"type": "rest"}', array['label-' || n % 500], '[]', '2026-01-01'::timestamptz + n * interval '1 second'
    from generate_series(1, 200000) as n`.execute(store.kysely)
  for (const { definition } of indexes) await sql.raw(definition).execute(store.kysely)
  await sql`vacuum analyze jobs`.execute(store.kysely)
  const cases: Array<[string, Partial<JobFilter>, number]> = [
    ['nothing', {}, 50],
    ['a state', { states: ['failed'] }, 50],
    ['two states', { states: ['failed', 'queued'] }, 50],
    ['a kind', { kinds: ['purge'] }, 50],
    ['a bucket', { bucket: 'bucket-1' }, 50],
    ['a key', { bucket: 'bucket-1', key: 'folder-100/100.css' }, 1],
    ['a prefix', { prefix: 'folder-7/' }, 50],
    ['failed jobs below a prefix', { prefix: 'folder-0/', states: ['failed'] }, 50],
    ['a label', { label: 'label-7' }, 50],
    ['since', { since: new Date('2026-01-03T00:00:00Z') }, 50],
    ['until', { until: new Date('2026-01-01T00:10:00Z') }, 50],
    ['a cursor', { after: '019b7777-0000-7000-8000-000000000000', states: ['succeeded'] }, 50]
  ]
  for (const [name, filter, count] of cases) {
    const query = selectJobs(store.kysely, { limit: 50, ...filter })
    const compiled = query.compile()
    const plan = await store.kysely.executeQuery<{ 'QUERY PLAN': string }>(CompiledQuery.raw(`explain analyze ${compiled.sql}`, [...compiled.parameters]))
    const text = plan.rows.map(row => row['QUERY PLAN']).join('\n')
    t.notMatch(text, /Seq Scan/, name)
    const removed = Math.max(0, ...[...text.matchAll(/Rows Removed by Filter: (\d+)/g)].map(match => Number(match[1])))
    t.ok(removed < 20_000, `${name}: ${removed} rows looked at in vain`)
    t.equal((await query.execute()).length, count, name)
  }
})
