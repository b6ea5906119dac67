import t from 'tap'
import { sql } from 'kysely'
import type { Feed } from '../../../src/jobs/follow/feed.ts'
import { createFollowAll } from '../../../src/jobs/follow/follow-all.ts'
import type { Listener } from '../../../src/jobs/follow/listener.ts'
import { embedded } from '../../../src/store/embedded.ts'
import type { JobRow } from '../../../src/store/tables.ts'
import { makeDataDir } from '../../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => { await store.close() })

let told = 0
let tellAll: (rows: JobRow[], told: number) => void = () => {}
const feed: Feed = { watch: async () => () => {}, async watchAll (onChanges) { tellAll = onChanges; return () => {} }, told: () => told, close: async () => {} }
/** Makes jobs and tells of them, as the feed does. */
async function change (...labels: string[]): Promise<void> {
  const rows: JobRow[] = []
  for (const label of labels) {
    rows.push(...(await sql<JobRow>`insert into jobs (id, kind, state, request, source, timeline, created_at, finished_at, labels)
      values (gen_random_uuid(), 'purge', 'succeeded', '{}', '{"type":"rest"}', '[]', now(), now(), array[${label}]) returning *`.execute(store.kysely)).rows)
  }
  told = rows.at(-1)?.revision ?? told
  tellAll(rows, told)
}

t.test('a reader for whom there is room again, but which has not drained, is told of nothing out of turn', async t => {
  const got: string[] = []
  const listener = { isOpen: true, isBehind: false, isFull: false, send (event: Buffer) { got.push(/"label":"(\w+)"/.exec(event.toString())?.[1] ?? '') }, end () {}, onDrain () {}, onClose () {} }
  await createFollowAll({ store, feed, show: row => ({ label: row.labels[0] }) })(() => true, undefined, () => listener satisfies Listener)
  await change('first')
  t.same(got, ['first'])
  listener.isFull = true
  await change('missed', 'too')
  listener.isFull = false
  await change('newest')
  t.same(got, ['first'], 'what was missed comes first')
  listener.onDrain()
  while (got.length < 4) await new Promise(resolve => { setImmediate(resolve) })
  await change('after')
  t.same(got, ['first', 'missed', 'too', 'newest', 'after'])
})
