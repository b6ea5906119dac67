/** What an action answers, before the headers every answer has. */
export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: Buffer | string
  /** why a request was refused, for the log */
  reason?: string
}

/** The 404 of ObjectStore, byte for byte as recorded. */
export function notFound (reason: string): Answer {
  return { status: 404, headers: { 'X-N': 'S' }, body: 'Not found\n', reason }
}

/** A refusal: text that says why, where the real one says less. */
export function refuse (status: number, reason: string): Answer {
  return { status, headers: { 'Content-Type': 'text/plain' }, body: `${reason}\n`, reason }
}

/** A write that was done: no Content-Type, as recorded. */
export function done (word: 'deleted\n' | 'successful\n' | 'renamed\n'): Answer {
  return { status: 200, body: word }
}

/** An upload that is stored: an empty body; 200 as recorded, or the 204 of the documents. */
export function acknowledged (status: number): Answer {
  return { status }
}

/** An XML answer. */
export function xml (body: Buffer): Answer {
  return { status: 200, headers: { 'Content-Type': 'text/xml' }, body }
}
