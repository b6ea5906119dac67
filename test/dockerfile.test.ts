import { readFile } from 'node:fs/promises'
import t from 'tap'
import packageJson from '../package.json' with { type: 'json' }

t.test('an image starts the service as npm start does', async t => {
  const [, variable = '', flags = ''] = /exec env (\S+) node (.*) --env-file-if-exists=\S+ src/.exec(packageJson.scripts.start) as RegExpExecArray
  const text = await readFile(new URL('../Dockerfile', import.meta.url), 'utf8')
  t.ok(text.split(/\s+/).includes(variable), variable)
  t.same(JSON.parse(/^CMD (.*)$/m.exec(text)?.[1] ?? ''), ['node', ...flags.split(' '), 'src/server.ts'])
})
