import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { catalogue, problemCodes } from '../src/errors.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'
import { readDocument, validatorAt } from './openapi-check.ts'

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
  const { components, paths } = readDocument()
  for (const [name, { examples }] of Object.entries(components.schemas as Record<string, { examples?: unknown[] }>)) {
    t.ok(examples?.length, `${name} has an example`)
    const validate = validatorAt('components', 'schemas', name)
    for (const example of examples ?? []) t.ok(validate(example), `${name}: ${JSON.stringify(validate.errors)}`)
  }
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) t.ok(operation.summary !== undefined && operation.responses['500'] !== undefined, `${method} ${path}`)
  }
  for (const code of problemCodes) t.match(yaml, new RegExp(`- ${code}\n`))
  for (const path of ['/sync', '/upload', '/purge', '/jobs/{id}']) {
    const responses = paths[path]?.[path === '/jobs/{id}' ? 'get' : 'post']?.responses
    for (const status of [502, 504]) {
      const description = JSON.stringify(responses?.[status])
      for (const code of problemCodes.filter(each => catalogue[each].status === status)) t.match(description, code, `${path}: ${status} names ${code}`)
    }
  }
})
