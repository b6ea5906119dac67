import { sql } from 'kysely'
import t from 'tap'
import { createFind } from '../../src/jobs/find.ts'
import { newJobId } from '../../src/jobs/job.ts'
import { embedded } from '../../src/store/embedded.ts'
import { makeDataDir } from '../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(store.close)

t.test('all who ask at the same time share one look, and those of one job its row', async t => {
  const ids = [newJobId(Date.now()), newJobId(Date.now())] as const
  for (const id of ids) await sql`insert into jobs (id, kind, state, request, source, timeline, labels, created_at) values (${id}, 'purge', 'succeeded', '{}', '{"type":"rest"}', '[]', '{}', now())`.execute(store.kysely)
  let looks = 0
  let isAway = false
  const find = createFind({
    ...store,
    async goAhead (fn) {
      looks++
      if (isAway) throw new Error('away')
      return await fn()
    }
  })
  const [a, again, shouted, b, none] = await Promise.all([ids[0], ids[0], ids[0].toUpperCase(), ids[1], newJobId(Date.now())].map(find))
  t.equal(looks, 1)
  t.match([a, b, none], [{ id: ids[0] }, { id: ids[1] }, undefined])
  t.equal(a, again)
  t.equal(a, shouted)

  isAway = true
  const refused = await Promise.allSettled(ids.map(find))
  t.equal(looks, 2, 'nobody tries again by itself')
  t.match(refused, [{ status: 'rejected', reason: { message: 'away' } }, { status: 'rejected', reason: { message: 'away' } }])
})
