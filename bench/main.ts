import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** A measure: one file of this folder. */
interface Measure { name: string, run: (print: (line: string) => void) => Promise<void> }

const results = new URL('RESULTS.md', import.meta.url)
/** What earlier runs found, by the name of the measure. */
const sections = new Map((existsSync(results) ? readFileSync(results, 'utf8') : '').split(/^## /m).slice(1).map(text => {
  const [name = '', ...lines] = text.trim().split('\n')
  return [name, lines.join('\n').trim()]
}))

/** `npm run bench [-- file …]`: every measure, or the named ones, in turn; each replaces its section of RESULTS.md. */
const wanted = process.argv.slice(2)
const files = readdirSync(import.meta.dirname).filter(file => file.endsWith('.ts') && file !== 'main.ts').sort()
for (const file of files.filter(each => wanted.length === 0 || wanted.includes(each.replace(/\.ts$/, '')))) {
  const { name, run } = await import(`./${file}`) as Measure
  const lines: string[] = []
  const print = (line: string): void => {
    lines.push(line)
    process.stdout.write(`${line}\n`)
  }
  process.stdout.write(`\n## ${name}\n\n`)
  await run(print)
  print('')
  print(`Measured on ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`)
  sections.set(name, lines.join('\n'))
  const all = [...sections].map(([each, text]) => `## ${each}\n\n${text}\n`)
  writeFileSync(results, `# Benchmarks\n\nMade by \`npm run bench\`: medians of interleaved runs, each beside its limit and its peer.\n\n${all.join('\n')}`)
}
process.exit(0)
