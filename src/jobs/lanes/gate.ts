/** Lets only so many be inside at a time; whoever waits gets in by order of arrival. */
export interface Gate {
  visit: () => Visit
  /** Lets nobody in any more; whoever waits is told so. */
  close: () => void
}

/** One visitor. */
export interface Visit {
  /** Resolves once it is inside; false if that took too long, or the signal ended the wait. */
  enter: (signal: AbortSignal) => Promise<boolean>
  /** Makes room for the next, or gives the wait up. Further calls do nothing. */
  leave: () => void
}

export function createGate (count: number, patienceMs: number): Gate {
  let free = count
  let isClosed = false
  const waiting = new Set<(isIn: boolean) => void>()
  return {
    close () {
      isClosed = true
      for (const settle of waiting) settle(false)
    },
    visit () {
      let isIn = false
      let settle: (isIn: boolean) => void = () => {}
      return {
        async enter (signal) {
          if (isClosed || signal.aborted) return false
          if (free === 0) {
            return await new Promise<boolean>(resolve => {
              const timer = setTimeout(() => { settle(false) }, patienceMs)
              settle = answer => {
                if (!waiting.delete(settle)) return
                clearTimeout(timer)
                isIn = answer
                resolve(answer)
              }
              waiting.add(settle)
              signal.addEventListener('abort', () => { settle(false) })
            })
          }
          free--
          isIn = true
          return true
        },
        leave () {
          if (!isIn) {
            settle(false)
            return
          }
          isIn = false
          const [next] = waiting
          if (next === undefined) free++
          else next(true)
        }
      }
    }
  }
}
