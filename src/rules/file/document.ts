import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit, type Document, type ErrorCode } from 'yaml'

/** Something to mend, at a place that an editor can jump to; both count from 1. It never holds a value that may be secret. */
export interface Fault { line: number, column: number, message: string }

/** The members and indexes that lead to a value. */
export type Path = ReadonlyArray<string | number>

/** A YAML or JSON text that was read, with the place of everything in it. */
export interface RulesDocument {
  value: unknown
  /** Where a value stands, or the name of a member; what is not there is where its parent stands. */
  at: (path: Path, part?: 'value' | 'name') => { line: number, column: number }
}

/** Ours instead of the parser's, which quote the line: it may hold a secret. */
const words: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: 'text that begins with * must stand in quotes',
  BAD_DQ_ESCAPE: 'a backslash in double quotes begins an escape that YAML does not know: write \\\\ or use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above, or a bracket is not closed',
  BAD_SCALAR_START: 'text that begins with a sign such as @, % or ` must stand in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " stands in one line: put text that holds one in quotes',
  DUPLICATE_KEY: 'this member stands here a second time',
  MISSING_CHAR: 'a sign is missing here: a closing quote or bracket, a "- " before an entry, or a ": " after a name',
  MULTILINE_IMPLICIT_KEY: 'a name ends in another line than it began: a ": " is missing',
  MULTIPLE_DOCS: 'a second document begins here: a rules file is one',
  TAB_AS_INDENT: 'YAML is indented with spaces, and here is a tab',
  UNEXPECTED_TOKEN: 'this cannot stand here: is a quote or bracket not closed, or the indentation wrong?'
}

/** Reads YAML or JSON. Of a text that is neither there is no value, only faults. */
export function readDocument (source: string): { document?: RulesDocument, faults: Fault[] } {
  const lines = new LineCounter()
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const document = parseDocument(source.replace(/^\uFEFF/, ' '), { lineCounter: lines, prettyErrors: false })
  const faults = document.errors.map(({ code, pos: [offset], message }) => {
    const quote = message.startsWith('Missing closing') ? findQuote(document, offset) : undefined
    return quote === undefined ? { ...place(offset), message: words[code] ?? 'this is not valid YAML' } : { ...place(quote), message: 'this quote is not closed' }
  })
  faults.push(...document.warnings.map(({ pos }) => ({ ...place(pos[0]), message: 'YAML tags have no meaning here: leave it out' })))
  visit(document, {
    Alias (_, alias) {
      const offset = alias.range?.[0] ?? 0
      if (alias.resolve(document) === undefined) faults.push({ ...place(offset), message: `no anchor &${alias.source.length > 40 ? '...' : alias.source} stands above: text that begins with * must stand in quotes` })
    },
    Pair (_, { key }) {
      if (!isScalar(key)) faults.push({ ...place((key as { range?: [number] } | null)?.range?.[0] ?? 0), message: 'a name must be plain text' })
    }
  })
  // What follows in the same line is mostly the same fault again.
  if (faults.length > 0) return { faults: faults.sort(byPlace).filter((fault, index) => fault.line !== faults[index - 1]?.line) }
  try {
    return { faults, document: { value: document.toJS(), at: (path, part) => place(findOffset(document, path, part)) } }
  } catch {
    return { faults: [{ line: 1, column: 1, message: 'aliases repeat too much of it' }] }
  }
}

/** Where the quoted text begins that reaches an offset. */
function findQuote (document: Document, end: number): number | undefined {
  let found: number | undefined
  visit(document, {
    Scalar (_, { type, range }) {
      if (type?.startsWith('QUOTE') === true && range != null && range[0] < end && range[1] >= end) found = range[0]
    }
  })
  return found
}

/** The order in which a reader meets them. */
export function byPlace (a: Fault, b: Fault): number {
  return a.line - b.line || a.column - b.column
}

/** How far into the text a value, or the name of a member, begins. */
function findOffset (document: Document, path: Path, part: 'value' | 'name' = 'value'): number {
  let node: unknown = document.contents
  let offset = (document.contents as { range?: [number] } | null)?.range?.[0] ?? 0
  for (const [index, step] of path.entries()) {
    const whole = isAlias(node) ? node.resolve(document) : node
    if (isMap(whole)) {
      const pair = whole.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      node = part === 'name' && index === path.length - 1 ? pair?.key : pair?.value ?? pair?.key
    } else node = isSeq(whole) ? whole.items[Number(step)] : undefined
    const start = (node as { range?: [number] } | undefined)?.range?.[0]
    if (start === undefined) return offset
    offset = start
  }
  return offset
}
