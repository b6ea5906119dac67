import t from 'tap'
import { takeDelete } from '../../../src/jobs/copy/delete-brake.ts'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => { await store.close() })
t.afterEach(async () => { await store.kysely.deleteFrom('deletes').execute() })

/** How many of as many asks, one every so many seconds, are allowed. */
async function ask (asks: number, everySeconds: number, limit: number, startSeconds = 0): Promise<number> {
  let allowed = 0
  for (let n = 0; n < asks; n++) if (await takeDelete(store, new Date((startSeconds + n * everySeconds) * 1000), limit)) allowed++
  return allowed
}

t.test('a pace below the limit is never held up', async t => {
  t.equal(await ask(20, 20, 4), 20)
})

t.test('of a flood no more than the limit passes, though it goes on for minutes', async t => {
  t.equal(await ask(60, 5, 4), 4)
})

t.test('all asks at the same moment count', async t => {
  t.equal(await ask(10, 0, 4), 4)
})

t.test('when a flood is over for a minute, deletes pass again', async t => {
  t.equal(await ask(30, 5, 4), 4)
  t.equal(await ask(1, 1, 4, 170), 0)
  t.equal(await ask(4, 1, 4, 170 + 61), 4)
})

t.test('a limit of nothing lets nothing pass', async t => {
  t.equal(await ask(3, 100, 0), 0)
})
