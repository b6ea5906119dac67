import { sql } from 'kysely'
import type { Store } from '../store/store.ts'
import { dropOldPurges } from './debts/history.ts'
import { dropKeys } from './idempotency.ts'
import { forgetHints } from './intake/hints.ts'
import { sweep } from './lanes/lanes.ts'
import type { Pauses } from './pauses.ts'
import type { Verdict } from './probes.ts'

const tickMs = 1000
const sweepEveryTicks = 5
const dropEveryTicks = 3600
/** Longer than any sender repeats an event it got no answer for. */
const keepHintsMs = 24 * 3_600_000

export interface UpkeepOptions {
  store: Store
  pauses: Pauses
  now: () => Date
  /** How long finished jobs are kept. */
  retentionMs: number
  /** The neutral question to a kind of paused target, by what stands before the colon of its name; absent where no work is done. */
  probes?: Record<string, (which: string) => Promise<Verdict>>
  onResumed?: () => void
  /** Called each time, for what must be looked at every second. */
  onTick?: () => Promise<void>
  log: { warn: (fields: object, message: string) => void }
}

/** Once a second: who is paused, whether a probe is due; now and then lanes that were forgotten, and jobs that are old. */
export function startUpkeep ({ store, pauses, now, retentionMs, probes, onResumed, onTick, log }: UpkeepOptions): { stop: () => Promise<void> } {
  let ticks = 0
  let stopped = false
  let timer: NodeJS.Timeout | undefined

  async function tend (): Promise<void> {
    await pauses.refresh()
    await onTick?.()
    if (probes === undefined) return
    for (const name of await pauses.takeProbes(Object.keys(probes))) {
      const [kind = '', which = ''] = name.split(/:(.*)/s)
      // Where nothing neutral can be asked, the jobs themselves find out.
      if (await probes[kind]?.(which) === 'refused') continue
      await pauses.resume(name)
      onResumed?.()
    }
    if (++ticks % sweepEveryTicks === 0) await sweep(store, now())
    if (ticks % 60 === 1) await forgetHints(store, new Date(now().getTime() - keepHintsMs))
    if (ticks % dropEveryTicks === 1) {
      await dropOld(store, new Date(now().getTime() - retentionMs))
      await dropKeys(store.kysely, now())
    }
  }

  let turn = Promise.resolve()
  function tick (): void {
    turn = tend()
      .catch(error => { log.warn({ err: error }, 'upkeep failed; trying again') })
      .finally(() => { if (!stopped) timer = setTimeout(tick, tickMs) })
  }
  tick()
  return {
    async stop () {
      stopped = true
      clearTimeout(timer)
      await turn
    }
  }
}

/** Forgets jobs and purges from before a moment, a bounded number at a time, but none that something still waits for. */
export async function dropOld (store: Store, before: Date): Promise<void> {
  await sql`delete from jobs where id in (select id from jobs where finished_at is not null and created_at < ${before}::timestamptz
    and not exists (select from waiters where job_id = jobs.id) limit 10000)`.execute(store.kysely)
  await dropOldPurges(store, before)
}
