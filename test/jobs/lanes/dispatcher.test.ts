import { sql } from 'kysely'
import t from 'tap'
import { startDispatcher, type DispatcherOptions } from '../../../src/jobs/lanes/dispatcher.ts'
import { largePriority } from '../../../src/jobs/lanes/fetch.ts'
import { queueOf } from '../../../src/jobs/lanes/lanes.ts'
import { openQueues } from '../../../src/jobs/lanes/wake-queues.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'

const log = { info () {}, warn () {}, error () {} }
const target = 'default'
const store = await embedded({ dir: await makeDataDir(t), log })
t.teardown(async () => { await store.close() })
await openQueues(store, [target])
const wakeUps = (lanes: string[]) => lanes.map(lane => ({ singletonKey: lane, data: { lane } }))
const wake = async (...lanes: string[]) => await store.boss.insert(queueOf(target), wakeUps(lanes))
/** As if they had waited for an hour: nobody may see them newer. */
const wakeLongAgo = async (...lanes: string[]) => {
  await store.withTx(async tx => {
    await store.boss.insert(queueOf(target), wakeUps(lanes), { db: tx.db })
    await sql`update pgboss.job set created_on = created_on - interval '1 hour' where singleton_key = any(${lanes}::text[])`.execute(tx.kysely)
  })
}

/** A dispatcher whose runs end when the test says so. */
async function start (t: { teardown: (fn: () => Promise<void>) => void }, more: Partial<DispatcherOptions> = {}) {
  const ran: string[] = []
  const held = new Map<string, () => void>()
  const waiting = new Map<string, () => void>()
  const dispatcher = await startDispatcher({
    store,
    targets: [target],
    concurrency: 4,
    isPaused: () => false,
    log,
    async run (wakeUp) {
      ran.push(wakeUp.lane)
      const ended = new Promise<void>(resolve => { held.set(wakeUp.lane, resolve) })
      waiting.get(wakeUp.lane)?.()
      await ended
      await store.boss.complete(wakeUp.queue, { id: wakeUp.id, retryCount: wakeUp.retryCount })
    },
    ...more
  })
  t.teardown(async () => {
    for (const end of held.values()) end()
    await dispatcher.stop(1000)
  })
  return {
    dispatcher,
    ran,
    end (lane: string) {
      held.get(lane)?.()
      held.delete(lane)
    },
    running: async (lane: string) => { if (!held.has(lane)) await new Promise<void>(resolve => { waiting.set(lane, resolve) }) }
  }
}

t.test('what waits behind a busy lane holds up no other, and runs when the lane is free', async t => {
  const { ran, end, running } = await start(t)
  await wake('busy')
  await running('busy')
  await wake('busy', 'other')
  await running('other')
  t.same(ran, ['busy', 'other'])
  // A monitor may have noted the lane as busy by now: that must not outlast the run.
  await store.boss.supervise(queueOf(target))
  end('busy')
  await running('busy')
  t.same(ran, ['busy', 'other', 'busy'])
})

t.test('what a crash left behind is run again at once, not after its heartbeat', async t => {
  await wake('orphan')
  t.equal((await store.boss.fetch(queueOf(target))).length, 1, 'taken by a process that dies now')
  const { running } = await start(t, { heartbeatSeconds: 3600 })
  await running('orphan')
})

t.test('no more runs at once than are allowed, and none for a paused target', async t => {
  let paused = true
  const { dispatcher, ran, end, running } = await start(t, { concurrency: 2, isPaused: () => paused })
  await wakeLongAgo('one', 'two', 'three')
  await new Promise(resolve => { setImmediate(resolve) })
  t.same(ran, [])
  paused = false
  dispatcher.kick()
  await Promise.all([running('one'), running('two')])
  t.equal(dispatcher.running(), 2)
  end('one')
  await running('three')
  t.equal(ran.length, 3)
})

t.test('what has just changed overtakes a backlog', async t => {
  const { ran, running } = await start(t, { concurrency: 1 })
  await wake('large')
  await running('large')
  await wakeLongAgo('old-1', 'old-2', 'old-3')
  await wake('fresh')
  await running('fresh')
  t.same(ran, ['large', 'fresh'])
})

t.test('what was found too large for that comes next in the ordinary way', async t => {
  await sql`delete from pgboss.job`.execute(store.kysely)
  const { ran, end, running } = await start(t, { concurrency: 1 })
  await wake('busy-1')
  await running('busy-1')
  await wakeLongAgo('waiting')
  await store.boss.insert(queueOf(target), [{ singletonKey: 'too-large', data: { lane: 'too-large' }, priority: largePriority }])
  end('busy-1')
  await running('too-large')
  t.same(ran, ['busy-1', 'too-large'])
})
