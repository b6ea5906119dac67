export interface CoalesceOptions {
  /** Members of one flush at most. */
  max?: number
  /** How long to wait for more, where it is sure to come; told how many the last flush took. */
  lingerMs?: (last: number) => number
  /** So many that wait begin a second flush beside the one under way. */
  overlapAt?: number
}

/**
 * Turns many concurrent calls into few flushes: each flush takes whatever waits when the one before ended. If a flush of
 * several fails, its members are tried one by one, so that one bad member harms no other.
 */
export function coalesce<T, R> (flush: (items: T[]) => Promise<R[]>, { max = 500, lingerMs = () => 0, overlapAt = Infinity }: CoalesceOptions = {}): (item: T) => Promise<R> {
  let waiting: Array<{ item: T, resolve: (result: R) => void, reject: (error: unknown) => void }> = []
  let flushing = 0
  let gathering = false
  let last = 0
  const mayBegin = (): boolean => !gathering && waiting.length > 0 && (flushing === 0 || (flushing === 1 && waiting.length >= overlapAt))

  async function run (): Promise<void> {
    while (mayBegin()) {
      flushing++
      gathering = true
      // One turn of the event loop, so that requests which arrived meanwhile join.
      const ms = lingerMs(last)
      await new Promise(resolve => { if (ms > 0) setTimeout(resolve, ms); else setImmediate(resolve) })
      const batch = waiting.slice(0, max)
      waiting = waiting.slice(max)
      last = batch.length
      gathering = false
      try {
        const results = await flush(batch.map(({ item }) => item))
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R)
      } catch (error) {
        if (batch.length === 1) batch[0]?.reject(error)
        else for (const { item, resolve, reject } of batch) await flush([item]).then(([result]) => { resolve(result as R) }, reject)
      }
      flushing--
    }
  }

  return async item => await new Promise<R>((resolve, reject) => {
    waiting.push({ item, resolve, reject })
    run()
  })
}
