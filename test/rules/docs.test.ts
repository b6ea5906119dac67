import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { EdgegridSchema, MetadataSchema, PurgeSchema, RuleSchema, RulesFileSchema, TargetSchema } from '../../src/rules/file/schema.ts'
import { parseRules } from '../../src/rules/file/parse.ts'
import { askRules } from './ask.ts'

const file = new URL('../../docs/rules.md', import.meta.url)
const text = await readFile(file, 'utf8')
const blocks = [...text.matchAll(/^```(yaml|console)\n([^]*?)^```$/gm)].map(([, kind, body = '']) => ({ kind, body }))
const files = blocks.filter(each => each.kind === 'yaml').map(each => each.body)
const [whole = '', smallest = '', faulty = ''] = files

const dir = await mkdtemp(join(tmpdir(), 'edgeferry-docs-'))
t.teardown(async () => { await rm(dir, { recursive: true }) })

t.test('the files it shows are good, but for the one that shows faults', async t => {
  t.equal(files.length, 3)
  t.same(parseRules(whole, { production: true, target: undefined, edgegrid: false }).faults, [])
  t.same(parseRules(smallest, { production: true, target: 'unknown', edgegrid: true }).faults, [])
  t.ok(parseRules(faulty, { production: true, target: undefined, edgegrid: false }).faults.length > 3)
})

t.test('the commands it shows say what it shows', async t => {
  const consoles = blocks.filter(each => each.kind === 'console')
  t.equal(consoles.length, 3)
  for (const { body } of consoles) {
    const [, file, words = '', said = ''] = /^\$ (?:RULES_FILE=(\S+) )?npm run -s rules -- (.*)\n([^]*)$/.exec(body) ?? []
    const args = [...words.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
    await writeFile(join(dir, 'rules.yaml'), args[0] === 'check' ? faulty : whole)
    const { output, errors } = await askRules(args, { cwd: dir, env: file === undefined ? {} : { RULES_FILE: file } })
    t.equal(output, said, words)
    t.equal(errors, '')
  }
})

t.test('it names every member with its meaning and default', async t => {
  interface Member { description?: string, default?: unknown, enum?: string[] }
  const parts = { '': RulesFileSchema, 'targets.*.': TargetSchema, 'edgegrids.*.': EdgegridSchema, 'rules[].': RuleSchema, 'rules[].metadata.': MetadataSchema, 'rules[].purge.': PurgeSchema }
  const table = ['| Member | Meaning | Default |', '|---|---|---|']
  for (const [prefix, schema] of Object.entries(parts)) {
    const { properties, required } = schema as unknown as { properties: Record<string, Member>, required: string[] }
    for (const [name, { description, default: value }] of Object.entries(properties)) {
      const isNothing = value === undefined || ['{}', '[]', '""'].includes(JSON.stringify(value))
      const fallback = required.includes(name) ? 'required' : isNothing ? '' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
      table.push(`| \`${prefix}${name}\` | ${description} | ${fallback} |`)
    }
  }
  const wanted = text.replace(/(<!-- members -->\n)[^]*(<!-- \/members -->)/, (_, start: string, end: string) => `${start}${table.join('\n')}\n${end}`)
  if (process.env['TAP_SNAPSHOT'] === '1') await writeFile(file, wanted)
  t.equal(wanted, await readFile(file, 'utf8'), 'npm run openapi brings the table up to date')
})
