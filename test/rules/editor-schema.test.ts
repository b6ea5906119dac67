import { readFile, writeFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import t from 'tap'
import { parseDocument } from 'yaml'
import { editorSchema } from '../../src/rules/file/editor-schema.ts'

const file = new URL('../../rules.schema.json', import.meta.url)

t.test('the schema for editors is that of the service', async t => {
  const json = `${JSON.stringify(editorSchema(), null, 2)}\n`
  if (process.env['TAP_SNAPSHOT'] === '1') await writeFile(file, json)
  t.equal(json, await readFile(file, 'utf8'), 'npm run openapi writes it anew')
})

t.test('it is a schema of its own, which takes what is right and refuses what is not', async t => {
  // As an editor does: from the file alone, knowing nothing of the keywords that only some of them read.
  const schema = JSON.parse(await readFile(file, 'utf8')) as object
  const validate = new Ajv({ strict: false }).compile(schema)
  const rules = (text: string): unknown => parseDocument(text).toJS()
  t.ok(validate(rules('rules: [{ name: a, bucket: b, purge: { by: none } }]')))
  for (const wrong of ['rules: []', 'rules: [{ name: a, bucket: b }]', 'rules: [{ name: a, bucket: b, purge: { by: urls } }]', 'rules: [{ name: "a b", bucket: b, purge: { by: none } }]', 'targets: { a: {} }\nrules: [{ name: a, bucket: b, purge: { by: none } }]']) t.notOk(validate(rules(wrong)), wrong)
})
