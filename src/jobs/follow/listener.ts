import type { JobRow } from '../../store/tables.ts'

/** Somebody who follows jobs, and reads as fast as it can. */
export interface Listener {
  readonly isOpen: boolean
  /** It has not yet taken what was sent before. */
  readonly isBehind: boolean
  /** So much waits for it that nothing more may be sent. */
  readonly isFull: boolean
  send: (event: Buffer) => void
  end: () => void
  /** Called when it has taken everything, and when it is gone. */
  onDrain: () => void
  onClose: () => void
}

/** Writes a change of a job, by its name, as a server-sent event: once, however many listeners are told of it. */
export function createFormat (show: (row: JobRow) => object): (row: JobRow, name: string) => Buffer {
  const written = new WeakMap<JobRow, Map<string, Buffer>>()
  return (row, name) => {
    const events = written.get(row) ?? new Map<string, Buffer>()
    written.set(row, events)
    const event = events.get(name) ?? Buffer.from(`id: ${row.revision}\nevent: ${name}\ndata: ${JSON.stringify(show(row))}\n\n`)
    events.set(name, event)
    return event
  }
}

/** The least time between two events of one job that tell of progress. */
export const progressMs = 500
