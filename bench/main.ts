import { readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** A measure: one file of this folder. */
interface Measure { name: string, run: (print: (line: string) => void) => Promise<void> }

/** `npm run bench [-- file …]`: every measure, or the named ones, in turn; all of them together make RESULTS.md. */
const wanted = process.argv.slice(2)
const files = readdirSync(import.meta.dirname).filter(file => file.endsWith('.ts') && file !== 'main.ts').sort()
const lines: string[] = []
const print = (line: string): void => {
  lines.push(line)
  process.stdout.write(`${line}\n`)
}
print(`Measured on ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`)
for (const file of files.filter(each => wanted.length === 0 || wanted.includes(each.replace(/\.ts$/, '')))) {
  const measure = await import(`./${file}`) as Measure
  print(`\n## ${measure.name}\n`)
  await measure.run(print)
}
if (wanted.length === 0) writeFileSync(new URL('RESULTS.md', import.meta.url), `# Benchmarks\n\n${lines.join('\n')}\n`)
process.exit(0)
