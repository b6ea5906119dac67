import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { problemCodes } from '../src/errors.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

const file = new URL('../openapi.yaml', import.meta.url)

t.test('openapi.yaml is what the schemas say, and names every problem code', async t => {
  const dir = await makeDataDir(t)
  const app = await buildApp(testConfig({ DATA_DIR: dir }), { logger: false })
  t.teardown(async () => { await app.close() })
  await app.ready()
  const yaml = app.swagger({ yaml: true })
  if (process.env['TAP_SNAPSHOT'] === '1') await writeFile(file, yaml)
  t.equal(yaml, await readFile(file, 'utf8'), 'run npm run openapi to write it anew')
  t.notMatch(yaml, /[&*]a\d/, 'no aliases, of which some parsers bear few')
  for (const code of problemCodes) t.match(yaml, new RegExp(`- ${code}\n`))
})
