import { sql } from 'kysely'
import { AppError, toProblem } from '../../errors.ts'
import type { PurgeClient } from '../../purge/client.ts'
import { refuse } from '../debts/setback.ts'
import type { HeldDebt } from '../debts/payment.ts'
import { startLane, type Lane, type LaneOptions } from './lane.ts'

const strangersMs = 5_000
/** A replica with a newer configuration may know credentials that this one does not: it gets so long to show itself. */
const strangersWaitMs = 60_000

export interface PlannerOptions extends LaneOptions {
  /** Fast Purge clients by the name of their credentials; a reload may add some. */
  clients: ReadonlyMap<string, PurgeClient>
}

/**
 * The one place that sends purges: as fast as Akamai allows and never faster. One lane for each EdgeGrid credential, since
 * its token buckets are what limits them.
 */
export function startPlanner ({ clients, ...options }: PlannerOptions): Lane {
  const { store, log } = options
  const lanes = new Map<string, Lane>()

  /** A lane for credentials that are new, from the start or since a reload. */
  function open (): void {
    for (const [name, client] of clients) if (!lanes.has(name)) lanes.set(name, startLane(name, client, options))
  }

  const ago = sql`clock_timestamp() - ${strangersWaitMs}::int * interval '1 millisecond'`

  /** Debts of credentials that are no longer configured: nobody could ever send them, and the jobs should hear of it. */
  async function refuseStrangers (): Promise<void> {
    const { rows } = await sql<{ edgegrid: string }>`
      with recursive named as (
        (select edgegrid from debts where due_at is not null order by edgegrid limit 1)
        union all
        select (select edgegrid from debts where due_at is not null and edgegrid > named.edgegrid order by edgegrid limit 1) from named where named.edgegrid is not null
      )
      select edgegrid from named where edgegrid <> all(${[...clients.keys()]}::text[])
        and not exists (select from purge_lanes where edgegrid = named.edgegrid and held_until > ${ago})`.execute(store.kysely)
    for (const { edgegrid } of rows) {
      const error = new AppError('purge_refused', `There are no EdgeGrid credentials named "${edgegrid}".`)
      options.onDone(await store.withTx(async tx => {
        const { rows: debts } = await sql<HeldDebt & { now: Date }>`select id, clock_timestamp() as now from debts
          where edgegrid = ${edgegrid} and due_at <= ${ago} limit 5000 for update skip locked`.execute(tx.kysely)
        if (debts[0] === undefined) return []
        log.error({ edgegrid, code: error.code, count: debts.length }, error.message)
        return await refuse(tx, [{ debts, reason: error.message, problem: toProblem(error) }], debts[0].now)
      }))
    }
  }

  let timer: NodeJS.Timeout | undefined
  let turn = Promise.resolve()
  let stopping = false
  function tend (): void {
    open()
    turn = refuseStrangers()
      .catch(error => { log.warn({ err: error }, 'looking for purges without credentials failed; trying again') })
      .finally(() => { if (!stopping) timer = setTimeout(tend, strangersMs) })
  }
  tend()

  return {
    kick () {
      if (!stopping) open()
      for (const lane of lanes.values()) lane.kick()
    },
    async stop () {
      stopping = true
      clearTimeout(timer)
      await Promise.all([turn, ...Array.from(lanes.values(), async lane => { await lane.stop() })])
    }
  }
}
