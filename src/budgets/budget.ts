import type { Report } from './rate.ts'
import type { TakeTurns, Turns } from './turns.ts'

/** Lets requests go when it is their turn. */
export interface Budget {
  /** Resolves when a request may leave, at once. Rejects with the signal's reason. */
  take: (signal?: AbortSignal) => Promise<void>
  /** What a request was answered; 0 = nothing. */
  report: (status: number) => void
}

export interface BudgetOptions {
  takeTurns: TakeTurns
  /** Called with the rate and with how long a request waited. */
  onTurn?: (turn: { perSecond: number, waitedMs: number }) => void
}

/** A turn that was not used so soon is forfeit: used late, it would crowd the turns of others. */
const lateMs = 30
/** Turns are taken for so long ahead, since each look costs more than a request. */
const aheadMs = 100

interface Waiter { since: number, go: () => void, fail: (error: unknown) => void }

/** The budget of one kind of request to one storage group, in this process. */
export function createBudget ({ takeTurns, onTurn = () => {} }: BudgetOptions): Budget {
  const waiting = new Set<Waiter>()
  let block = { at: 0, left: 0, spacingMs: 0, perSecond: 0 }
  let report: Report = { fine: 0, busy: 0, broken: 0 }
  let looking = false
  let timer: NodeJS.Timeout | undefined

  function serve (): void {
    clearTimeout(timer)
    const now = performance.now()
    const forfeit = Math.min(block.left, Math.max(0, Math.ceil((now - lateMs - block.at) / block.spacingMs)))
    if (forfeit > 0) block = { ...block, left: block.left - forfeit, at: block.at + forfeit * block.spacingMs }
    for (const waiter of waiting) {
      if (block.left === 0) return look()
      if (block.at > now) {
        timer = setTimeout(serve, block.at - now)
        return
      }
      block.left--
      block.at += block.spacingMs
      waiting.delete(waiter)
      onTurn({ perSecond: block.perSecond, waitedMs: now - waiter.since })
      waiter.go()
    }
  }

  function look (): void {
    if (looking) return
    looking = true
    const told = report
    report = { fine: 0, busy: 0, broken: 0 }
    const wanted = Math.max(waiting.size, Math.floor(block.perSecond * aheadMs / 1000))
    takeTurns(wanted, told).then(adopt, (error: unknown) => {
      for (const { fail } of waiting) fail(error)
      waiting.clear()
    }).finally(() => {
      looking = false
      serve()
    })
  }

  function adopt ({ count, waitMs, spacingMs, perSecond }: Turns): void {
    block = { at: performance.now() + waitMs, left: count, spacingMs, perSecond }
  }

  return {
    async take (signal) {
      signal?.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const waiter: Waiter = { since: performance.now(), go: resolve, fail: reject }
      const onAbort = (): void => {
        waiting.delete(waiter)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      waiting.add(waiter)
      serve()
      try {
        await promise
      } finally {
        signal?.removeEventListener('abort', onAbort)
      }
    },
    report (status) {
      if (status === 429) {
        report.busy++
        // What is left was handed out at a rate that is too high.
        block.left = 0
      } else if (status >= 500) report.broken++
      else if (status > 0) report.fine++
    }
  }
}
