import { embedded } from '../../src/store/embedded.ts'

/** Commits rows without end and says which, until it is killed: `writer.ts <folder> <name>`. */
const [dir = '', name = ''] = process.argv.slice(2)
const store = await embedded({ dir, log: console })
for (let n = 0; ; n++) {
  await store.kysely.insertInto('pauses').values({ name: name + n, reason: '', since: new Date(), next_probe_at: new Date() }).execute()
  process.stdout.write(`${name}${n}\n`)
}
