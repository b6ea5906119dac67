import { isAbsolute, join, relative } from 'node:path'
import { readEnvironment, secrets, type Environment } from '../environment.ts'
import { explainKey } from './explain.ts'
import { readRuleSet } from './read.ts'

/** `npm run rules -- check|explain …`: judges rules, or tells what they make of a key. Reads no secret unless told to. */
const usage = `npm run rules -- check [--with-secrets] <file>
    names all that is wrong with a rules file, with line and column;
    with secrets also its key files and .edgerc files, as the service reads them at its start
npm run rules -- explain <bucket> <key>
    tells what RULES_FILE, or else the environment, makes of an object
`

/** Ends with 0 if all is well, 1 if not, 2 if it was not asked properly. */
function main ([command, ...given]: string[]): number {
  const withSecrets = command === 'check' && given.includes('--with-secrets')
  const words = command === 'check' ? given.filter(word => word !== '--with-secrets') : given
  const [first, second] = words
  if (command === 'check' && first !== undefined && words.length === 1) return check(fromWhereAsked(first), withSecrets)
  if (command === 'explain' && first !== undefined && second !== undefined && words.length === 2) return explain(first, second)
  process.stderr.write(usage)
  return 2
}

function check (file: string, withSecrets: boolean): number {
  const wrong: string[] = []
  const { set, faults, warnings } = readRuleSet({ ...readOurs(wrong, withSecrets), RULES_FILE: file }, { withSecrets })
  wrong.push(...faults.map(fault => fault.replace(/^RULES_FILE: /, '')))
  for (const warning of warnings) print(`${warning} (a warning)`)
  for (const fault of wrong) print(fault)
  const found = `${wrong.length} ${wrong.length === 1 ? 'fault' : 'faults'}`
  print(`${file}: ${wrong.length > 0 ? found : `good, ${set.rules.length} ${set.rules.length === 1 ? 'rule' : 'rules'}`}`)
  return wrong.length > 0 ? 1 : 0
}

function explain (bucket: string, key: string): number {
  const wrong: string[] = []
  const { set, faults } = readRuleSet(readOurs(wrong, false), { withSecrets: false })
  wrong.push(...faults)
  for (const fault of wrong) print(fault)
  if (wrong.length > 0) return 1
  const { isCopied, lines } = explainKey(set, bucket, key)
  for (const line of lines) print(line)
  return isCopied ? 0 : 1
}

/** The environment, without its secrets unless they are wanted: rules are judged where there are none, too. */
function readOurs (faults: string[], withSecrets: boolean): Environment {
  const isSecret = (name: string) => (secrets as readonly string[]).includes(name.replace(/_FILE$/, ''))
  return readEnvironment(withSecrets ? process.env : Object.fromEntries(Object.entries(process.env).filter(([name]) => !isSecret(name))), faults)
}

/** npm starts scripts in the folder of the package; whoever asked may stand elsewhere. */
function fromWhereAsked (file: string): string {
  const { INIT_CWD: from, npm_lifecycle_event: script } = process.env
  return isAbsolute(file) || from === undefined || script !== 'rules' ? file : join(relative(process.cwd(), from), file)
}

const print = (line: string): void => { process.stdout.write(`${line}\n`) }

process.exitCode = main(process.argv.slice(2))
