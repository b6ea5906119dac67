import type { KyselyPlugin } from 'kysely'
import t from 'tap'
import { embedded } from '../../../src/store/embedded.ts'
import { makeDataDir } from '../../data-dir.ts'
import { until } from '../../process.ts'
import { startRig } from './rig.ts'

const store = await embedded({ dir: await makeDataDir(t), log: { info () {}, warn () {}, error () {} } })
t.teardown(async () => { await store.close() })

t.test('a lane that owes nothing looks now and then, not all the time', async t => {
  const looks: number[] = []
  const counter: KyselyPlugin = {
    transformQuery ({ node }) {
      if (JSON.stringify(node).includes('as oldest')) looks.push(performance.now())
      return node
    },
    transformResult: async ({ result }) => result
  }
  const rig = await startRig(t, { store: { ...store, kysely: store.kysely.withPlugin(counter) } })
  await until(() => looks.length >= 4, 'it has looked several times', 60_000, 10)
  await rig.stop()
  t.ok((looks[3] ?? 0) - (looks[0] ?? 0) > 500, 'it rests between its looks')
})
