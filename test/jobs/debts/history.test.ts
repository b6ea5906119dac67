import { CompiledQuery, sql } from 'kysely'
import t from 'tap'
import { dropOldPurges, selectPurges, type PurgeFilter } from '../../../src/jobs/debts/history.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t, { busy: true }), log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => { await store.close() })

/** A UUIDv7 of a second of 2026, made by the database. */
const idOf = sql`(regexp_replace(lpad(to_hex((extract(epoch from '2026-01-01'::timestamptz + n * interval '1 second') * 1000)::bigint), 12, '0'), '^(.{8})(.{4})$', '\\1-\\2') || '-7000-8000-000000000000')::uuid`

t.test('with 20,000 requests no list scans the table', async t => {
  await sql`
    insert into jobs (id, kind, state, bucket, key, request, source, labels, timeline, created_at)
    select ${idOf}, 'sync', 'succeeded', 'bucket-' || n % 3, n || '.css', '{}', '{"type": "rest"}', array['label-' || n % 500], '[]', '2026-01-01'::timestamptz + n * interval '1 second'
    from generate_series(1, 20000) as n`.execute(store.kysely)
  await sql`
    insert into purges (id, edgegrid, network, action, type, objects, count, purge_id, support_id, accepted_at, job_ids)
    select ${idOf}, 'default', case when n % 1000 = 0 then 'staging' else 'production' end, case when n % 700 = 0 then 'delete' else 'invalidate' end,
      case when n % 500 = 0 then 'cpcode' else 'url' end, case when n % 500 = 0 then to_jsonb(array[n]) else to_jsonb(array['https://www.example.com/' || n, 'https://www.example.com/all']) end,
      2, 'purge-' || n, 'support-' || n, '2026-01-01'::timestamptz + n * interval '1 second', array[${idOf}]
    from generate_series(1, 20000) as n`.execute(store.kysely)
  await sql`insert into purge_objects select hashtextextended(object, 0), id from purges, jsonb_array_elements_text(objects) as object where object not like '%all'`.execute(store.kysely)
  await sql`analyze`.execute(store.kysely)
  const { rows: [some] } = await sql<{ id: string }>`select id from purges where purge_id = 'purge-7'`.execute(store.kysely)
  const id = some?.id as string
  const cases: Array<[string, Partial<PurgeFilter>, number, string?]> = [
    ['nothing', {}, 50, 'purge-20000'],
    ['a network', { network: 'staging' }, 20, 'purge-20000'],
    ['an action and a type', { action: 'delete', type: 'url' }, 23, 'purge-19600'],
    ['a type', { type: 'cpcode' }, 40, 'purge-20000'],
    ['an object', { object: 'https://www.example.com/123' }, 1, 'purge-123'],
    ['a CP code', { object: '1500', type: 'cpcode' }, 1, 'purge-1500'],
    ['an object on another network', { object: 'https://www.example.com/123', network: 'staging' }, 0],
    ['an object nobody purged', { object: 'https://www.example.com/none' }, 0],
    ['a job', { jobId: id }, 1, 'purge-7'],
    ['a job and another object', { jobId: id, object: 'https://www.example.com/123' }, 0],
    ['a key', { bucket: 'bucket-1', key: '7.css' }, 1, 'purge-7'],
    ['a key of another bucket', { bucket: 'bucket-2', key: '7.css' }, 0],
    ['a bucket', { bucket: 'bucket-1' }, 50, 'purge-19999'],
    ['a bucket and a network', { bucket: 'bucket-1', network: 'production' }, 50, 'purge-19999'],
    ['a label', { label: 'label-7' }, 40, 'purge-19507'],
    ['since', { since: new Date('2026-01-01T05:33:00Z') }, 21, 'purge-20000'],
    ['until', { until: new Date('2026-01-01T00:00:10Z') }, 9, 'purge-9'],
    ['a cursor', { after: id }, 6, 'purge-6']
  ]
  for (const [name, filter, count, newest] of cases) {
    const query = selectPurges({ limit: 50, ...filter })
    const compiled = query.compile(store.kysely)
    const plan = await store.kysely.executeQuery<{ 'QUERY PLAN': string }>(CompiledQuery.raw(`explain analyze ${compiled.sql}`, [...compiled.parameters]))
    const text = plan.rows.map(row => row['QUERY PLAN']).join('\n')
    t.notMatch(text, /Seq Scan/, name)
    const removed = Math.max(0, ...[...text.matchAll(/Rows Removed by Filter: (\d+)/g)].map(match => Number(match[1])))
    t.ok(removed < 1000, `${name}: ${removed} rows looked at in vain`)
    const { rows } = await query.execute(store.kysely)
    t.equal(rows.length, count, name)
    t.equal(rows[0]?.purge_id, newest, `${name}: the newest first`)
  }
})

t.test('what is old is forgotten, with the index of its objects', async t => {
  await dropOldPurges(store, new Date('2026-01-01T05:30:00Z'))
  const { rows } = await sql<{ requests: number, objects: number }>`select (select count(*) from purges) as requests, (select count(*) from purge_objects) as objects`.execute(store.kysely)
  t.same(rows, [{ requests: 201, objects: 201 }])
})
