import { readFile, writeFile } from 'node:fs/promises'
import t from 'tap'
import { EnvironmentSchema, secrets } from '../src/environment.ts'

const readme = new URL('../README.md', import.meta.url)

t.test('the README names every variable with its meaning and default', async t => {
  const table = ['| Variable | Meaning | Default |', '|---|---|---|']
  for (const [name, schema] of Object.entries(EnvironmentSchema.properties)) {
    const { description, default: value } = schema as unknown as { description: string, default?: unknown }
    const file = (secrets as readonly string[]).includes(name) ? ', `_FILE`' : ''
    table.push(`| \`${name}\`${file} | ${description} | ${value === undefined ? '' : `\`${String(value)}\``} |`)
  }
  const text = await readFile(readme, 'utf8')
  const wanted = text.replace(/(<!-- variables -->\n)[^]*(<!-- \/variables -->)/, `$1${table.join('\n')}\n$2`)
  if (process.env['TAP_SNAPSHOT'] === '1') await writeFile(readme, wanted)
  t.equal(text.includes(table.join('\n')) || process.env['TAP_SNAPSHOT'] === '1', true, 'run npm run openapi to bring the table up to date')
})
