import { Ajv } from 'ajv'
import { checkRules, type Surroundings } from './checks.ts'
import { byPlace, readDocument, type Fault, type Path, type RulesDocument } from './document.ts'
import { RulesFileSchema, type RulesFile } from './schema.ts'
import { toFinding, type Finding } from './words.ts'

/** A rules file as it was understood. */
export interface Parsed {
  /** Without what is of the wrong form: whole only if there are no faults. */
  file: RulesFile
  faults: Fault[]
  warnings: Fault[]
  /** Gives a finding its place in the text. */
  place: (finding: Finding) => Fault
}

const validate = new Ajv({ allErrors: true, useDefaults: true, verbose: true, keywords: ['patternErrorMessage'] }).compile(RulesFileSchema)

/** Reads the text of a rules file and names all that is wrong with it, in the order of the text. Opens no other file. */
export function parseRules (source: string, surroundings: Surroundings): Parsed {
  const { document, faults } = readDocument(source)
  const nothing: RulesFile = { targets: {}, edgegrids: {}, rules: [] }
  if (document === undefined) return { file: nothing, faults, warnings: [], place: placeIn(undefined) }
  const place = placeIn(document)
  if (document.value === null) return { file: nothing, faults: [place({ path: [], message: 'the file holds nothing: give it at least one rule' })], warnings: [], place }
  const { value } = document
  const findings = validate(value) ? [] : (validate.errors ?? []).map(toFinding)
  const file = isMap(value)
    ? { targets: isMap(value['targets']) ? value['targets'] : {}, edgegrids: isMap(value['edgegrids']) ? value['edgegrids'] : {}, rules: Array.isArray(value['rules']) ? value['rules'] : [] } as RulesFile
    : nothing
  const broken = findings.flatMap(({ breaks }) => breaks === undefined ? [] : [breaks])
  const checked = checkRules(file, surroundings, broken)
  return {
    file: withoutBroken(file, broken),
    faults: [...findings, ...checked.faults].map(place).sort(byPlace),
    warnings: checked.warnings.map(place).sort(byPlace),
    place
  }
}

/** The entries in which nothing is missing or of the wrong form. */
function withoutBroken ({ targets, edgegrids, rules }: RulesFile, broken: readonly Path[]): RulesFile {
  const isWhole = (...path: Path) => !broken.some(each => path.every((step, index) => String(step) === String(each[index])))
  return {
    targets: Object.fromEntries(Object.entries(targets).filter(([name]) => isWhole('targets', name))),
    edgegrids: Object.fromEntries(Object.entries(edgegrids).filter(([name]) => isWhole('edgegrids', name))),
    rules: rules.filter((_, index) => isWhole('rules', index))
  }
}

const placeIn = (document: RulesDocument | undefined) => ({ path, part, message }: Finding): Fault =>
  ({ ...(document?.at(path, part) ?? { line: 1, column: 1 }), message })

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
