import { sql } from 'kysely'
import t from 'tap'
import type { Feed } from '../../../src/jobs/follow/feed.ts'
import { createFollowAll } from '../../../src/jobs/follow/follow-all.ts'
import { newJobId } from '../../../src/jobs/job.ts'
import { embedded } from '../../../src/store/embedded.ts'
import type { JobRow } from '../../../src/store/tables.ts'
import { makeDataDir } from '../../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(store.close)

async function addJob (): Promise<JobRow> {
  const { rows } = await sql<JobRow>`insert into jobs (id, kind, state, request, source, timeline, labels, created_at)
    values (${newJobId(Date.now())}, 'purge', 'succeeded', '{}', '{"type":"rest"}', '[]', '{}', now()) returning *`.execute(store.kysely)
  return rows[0] as JobRow
}

/** A feed that is moved by hand. */
function createHand (start: number) {
  let told = start
  let tell: (rows: JobRow[], from: number, told: number) => Promise<void> | void = () => {}
  const feed: Feed = {
    watch: async () => () => {},
    async watchAll (onChanges) {
      tell = onChanges
      return () => {}
    },
    told: () => told,
    close: async () => {}
  }
  return {
    feed,
    async change (row: JobRow) {
      const from = told
      told = row.revision
      await tell([row], from, told)
    }
  }
}

t.test('a reader that fell behind and takes some of it is told nothing before what it missed', async t => {
  const first = await addJob()
  const hand = createHand(first.revision)
  const followAll = createFollowAll({ store, feed: hand.feed, show: ({ revision }) => ({ revision }) })
  const sent: number[] = []
  const enough = Promise.withResolvers<void>()
  const reader = {
    isOpen: true,
    isBehind: false,
    isFull: false,
    send (event: Buffer) {
      sent.push(Number(/"revision":(\d+)/.exec(event.toString())?.[1]))
      if (sent.length === 4) enough.resolve()
    },
    end: () => {},
    onDrain: () => {},
    onClose: () => {}
  }
  await followAll(() => true, first.revision, () => reader)
  const rows = [await addJob(), await addJob(), await addJob(), await addJob()] as const
  const revisions = rows.map(row => row.revision)

  await hand.change(rows[0])
  Object.assign(reader, { isBehind: true, isFull: true })
  await hand.change(rows[1])
  t.same(sent, revisions.slice(0, 1), 'what there is no room for is not sent')
  reader.isFull = false
  await hand.change(rows[2])
  t.same(sent, revisions.slice(0, 1), 'nor what came after it')
  reader.isBehind = false
  reader.onDrain()
  await hand.change(rows[3])
  await enough.promise
  t.same(sent, revisions, 'all of it comes, in order')

  sent.splice(0)
  reader.isOpen = false
  reader.onClose()
  await hand.change(await addJob())
  t.same(sent, [], 'who is gone is told nothing')
})
