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

/** One server-sent event. */
export function formatEvent (id: number, name: string, data: object): Buffer {
  return Buffer.from(`id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
}

/** The least time between two events of one job that tell of progress. */
export const progressMs = 500
