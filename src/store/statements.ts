import { protocol, type PGlite } from '@electric-sql/pglite'

/** A statement with its parameters. */
export interface Statement { text: string, values: readonly unknown[] }
/** What every transaction is made of. */
export const begin: Statement = { text: 'begin', values: [] }
export const commit: Statement = { text: 'commit', values: [] }
export const rollback: Statement = { text: 'rollback', values: [] }
/** Several statements in one text: it can only be sent as it is, and who knows in what state it leaves a session when it fails. */
export const isScript = ({ text, values }: Statement): boolean => values.length === 0 && text.includes(';')
/** What came of it. */
export interface Result { rows: unknown[], affected: number }

/** A statement as the database keeps it: types of its parameters, names and types of its columns. */
interface Prepared { name: string, params: number[], fields: Array<{ name: string, dataTypeID: number }> }
/** The messages of the protocol that are looked at. */
interface Message { name: string, dataTypeIDs?: number[], fields?: unknown[], text?: string }

/** Texts with a varying number of parameters come and go; those that are sent all the time stay. */
const mostKept = 128
/** A plan that is kept was made for tables of that size: so many rows later all are made anew, then at twice as many. */
const firstReplan = 64

const { serialize } = protocol

/**
 * Statements of one session, parsed and planned once and then kept by their text, and as many as belong together sent
 * to the database in one go. PGlite's own `query` asks it six times for each, and plans it anew.
 */
export function createStatements (db: PGlite) {
  const kept = new Map<string, Prepared>()
  let made = 0
  let written = 0
  let replanAt = firstReplan

  const exchange = async (...parts: Uint8Array[]): Promise<Message[]> =>
    await db.execProtocolStream(Buffer.concat(parts), { syncToFs: false }) as unknown as Message[]

  async function prepare (text: string): Promise<Prepared> {
    const found = kept.get(text)
    if (found !== undefined) {
      // Whoever was asked for last is the last to go.
      kept.delete(text)
      kept.set(text, found)
      return found
    }
    const name = `kept_${++made}`
    const messages = await exchange(serialize.parse({ name, text }), serialize.describe({ type: 'S', name }), serialize.sync())
    const prepared = {
      name,
      params: messages.find(each => each.name === 'parameterDescription')?.dataTypeIDs ?? [],
      fields: (messages.find(each => each.name === 'rowDescription')?.fields ?? []) as Prepared['fields']
    }
    kept.set(text, prepared)
    const [oldest] = kept
    if (kept.size > mostKept && oldest !== undefined) {
      kept.delete(oldest[0])
      await exchange(serialize.close({ type: 'S', name: oldest[1].name }), serialize.sync())
    }
    return prepared
  }

  function bind ({ name, params }: Prepared, values: readonly unknown[]): Uint8Array {
    const bound = values.map((value, index) => {
      if (value === null || value === undefined) return null
      const write = db.serializers[params[index] as number]
      return write === undefined ? String(value) : write(value)
    })
    return serialize.bind({ statement: name, values: bound })
  }

  function readRow ({ fields }: Prepared, values: Array<string | null>): Record<string, unknown> {
    const row: Record<string, unknown> = {}
    for (const [index, { name, dataTypeID }] of fields.entries()) {
      const value = values[index] ?? null
      const read = db.parsers[dataTypeID]
      row[name] = value === null || read === undefined ? value : read(value, dataTypeID)
    }
    return row
  }

  /** Runs statements in order; the first that fails ends it, and none after it is run. Throws that one's error. */
  return async function run (statements: readonly Statement[]): Promise<Result[]> {
    const prepared: Prepared[] = []
    for (const { text } of statements) prepared.push(await prepare(text))
    const messages = await exchange(
      ...statements.flatMap(({ values }, index) => [bind(prepared[index] as Prepared, values), serialize.execute({})]),
      serialize.sync()
    )
    const results: Result[] = []
    let rows: unknown[] = []
    for (const message of messages) {
      if (message.name === 'dataRow') rows.push(readRow(prepared[results.length] as Prepared, message.fields as Array<string | null>))
      else if (message.name === 'commandComplete' || message.name === 'emptyQuery') {
        const affected = Number(/\d+$/.exec(message.text ?? '')?.[0] ?? 0)
        if (message.text?.startsWith('INSERT') === true) written += affected
        results.push({ rows, affected })
        rows = []
      }
    }
    if (written >= replanAt) {
      replanAt = 2 * written
      await db.exec('discard plans')
    }
    return results
  }
}
