import { AppError, toAppError, toProblem } from '../errors.ts'
import { splitObjects, type PurgeObject } from '../purge/batch.ts'
import type { PurgeClient } from '../purge/client.ts'
import { PurgeRefused } from '../purge/failures.ts'
import type { Store } from '../store/store.ts'
import type { DebtRow } from '../store/tables.ts'
import { pay, postpone, refuse, takeDue } from './debts.ts'
import { newJobId } from './job.ts'
import type { Pauses } from './pauses.ts'

const idleMs = 200
const takeAtOnce = 2_000

export interface PlannerOptions {
  store: Store
  /** Fast Purge clients by the name of their credentials. */
  clients: ReadonlyMap<string, PurgeClient>
  pauses: Pauses
  now: () => Date
  repeatMs: number
  /** How long a purge is tried before the jobs that wait for it fail. */
  retryMs: number
  log: { info: (fields: object, message: string) => void, warn: (fields: object, message: string) => void, error: (fields: object, message: string) => void }
  /** Called for jobs that ended. */
  onDone: (jobs: Array<{ kind: string, outcome: string | null, state: string, created_at: Date }>) => void
}

/** Pays debts as they come due, until stopped. */
export interface Planner {
  kick: () => void
  /** Sends one due request for paused credentials, to see whether they are accepted again. */
  probe: (edgegrid: string) => Promise<boolean>
  stop: () => Promise<void>
}

/** The one place that sends purges: takes what is due, packs it, sends it, and books what was accepted. */
export function startPlanner ({ store, clients, pauses, now, repeatMs, retryMs, log, onDone }: PlannerOptions): Planner {
  let stopping = false
  let timer: NodeJS.Timeout | undefined
  let turn: Promise<void> | undefined

  async function payDue (paused: string[], limit: number): Promise<number> {
    const debts = await store.withTx(async tx => await takeDue(tx, now(), paused, limit))
    const groups = Map.groupBy(debts, debt => [debt.edgegrid, debt.network, debt.type, strongest(debts, debt)].join(' '))
    for (const group of groups.values()) await payGroup(group)
    return debts.length
  }

  /** One group may share requests: same credentials, network, type and action. */
  async function payGroup (group: DebtRow[]): Promise<void> {
    const { type } = group[0] as DebtRow
    const byObject = Map.groupBy(group, debt => debt.object)
    const toWire = (object: string): PurgeObject => type === 'cpcode' ? Number(object) : object
    const { batches, tooLong } = splitObjects([...byObject.keys()].map(toWire))
    for (const object of tooLong) {
      await giveUp(byObject.get(String(object)) ?? [], new AppError('purge_object_too_long', `The object is longer than a purge request may be: ${String(object).slice(0, 100)}…`))
    }
    for (const batch of batches) await send(batch, byObject)
  }

  async function send (objects: PurgeObject[], byObject: Map<string, DebtRow[]>): Promise<void> {
    const debts = objects.flatMap(object => byObject.get(String(object)) ?? [])
    const first = debts[0] as DebtRow
    const client = clients.get(first.edgegrid)
    const action = debts.some(debt => debt.action === 'delete') ? 'delete' as const : 'invalidate' as const
    const sentAt = now()
    try {
      if (client === undefined) throw new AppError('purge_refused', `There are no EdgeGrid credentials named "${first.edgegrid}".`)
      const receipt = await client.send({ action, type: first.type, network: first.network, objects })
      onDone(await store.withTx(async tx => await pay(tx, { debts, sentAt, receipt, repeatMs, purgeRowId: newJobId(now().getTime()) })))
      log.info({ purgeId: receipt.purgeId, count: objects.length, type: first.type, network: first.network, action }, 'purge accepted')
    } catch (error) {
      await settleFailure(toAppError(error), objects, byObject, debts, first)
    }
  }

  /** Fast Purge takes all or nothing: the offender goes, the others are sent again; unnamed, each half is tried. */
  async function settleFailure (error: AppError, objects: PurgeObject[], byObject: Map<string, DebtRow[]>, debts: DebtRow[], first: DebtRow): Promise<void> {
    const offender = error instanceof PurgeRefused ? error.offender : undefined
    if (error.credentials) {
      await store.withTx(async tx => {
        await pauses.pause(tx, `edgegrid:${first.edgegrid}`, error.message)
        await postpone(tx, debts, now(), toProblem(error))
      })
      log.error({ code: error.code }, `purges are paused: ${error.message}`)
    } else if (error.retryable) {
      const [late, early] = [debts.filter(isLate), debts.filter(debt => !isLate(debt))]
      if (late.length > 0) await giveUp(late, error)
      const delayMs = Math.max(1000 * Math.min(900, 2 ** Math.max(...debts.map(debt => debt.attempts))) * (0.75 + Math.random() / 2), (error.retryAfterSeconds ?? 0) * 1000)
      if (early.length > 0) await store.withTx(async tx => { await postpone(tx, early, new Date(now().getTime() + delayMs), toProblem(error)) })
      log.warn({ code: error.code, count: objects.length }, `the purge is tried again: ${error.message}`)
    } else if (objects.length === 1) await giveUp(debts, error)
    else if (offender !== undefined && byObject.has(String(offender))) {
      await giveUp(byObject.get(String(offender)) ?? [], error)
      await send(objects.filter(object => object !== offender), byObject)
    } else {
      const middle = objects.length >> 1
      await send(objects.slice(0, middle), byObject)
      await send(objects.slice(middle), byObject)
    }
  }

  const isLate = (debt: DebtRow) => now().getTime() - debt.first_at.getTime() > retryMs

  async function giveUp (debts: DebtRow[], error: AppError): Promise<void> {
    const reason = error instanceof PurgeRefused ? error.reason : error.message
    onDone(await store.withTx(async tx => await refuse(tx, debts, reason, toProblem(error), now())))
    log.error({ code: error.code, count: debts.length }, error.message)
  }

  function kick (): void {
    if (stopping || turn !== undefined) return
    clearTimeout(timer)
    let found = 0
    const paused = [...pauses.reasons().keys()].filter(name => name.startsWith('edgegrid:')).map(name => name.slice('edgegrid:'.length))
    turn = payDue(paused, takeAtOnce)
      .then(count => { found = count })
      .catch(error => { log.warn({ err: error }, 'paying purge debts failed; trying again') })
      .finally(() => {
        turn = undefined
        if (!stopping) timer = setTimeout(kick, found > 0 ? 0 : idleMs)
      })
  }

  kick()
  return {
    kick,
    async probe (edgegrid) {
      await turn
      const others = [...clients.keys()].filter(name => name !== edgegrid)
      const debts = await store.withTx(async tx => await takeDue(tx, now(), others, 1))
      if (debts.length === 0) return true
      await payGroup(debts)
      const still = await store.kysely.selectFrom('debts').select('id').where('id', '=', (debts[0] as DebtRow).id).where('attempts', '>', (debts[0] as DebtRow).attempts).execute()
      return still.length === 0
    },
    async stop () {
      stopping = true
      clearTimeout(timer)
      await turn
    }
  }
}

/** `delete` beats `invalidate` for the same object: it does all that the other does. */
function strongest (all: DebtRow[], debt: DebtRow): DebtRow['action'] {
  return debt.action === 'delete' || all.some(other => other.object === debt.object && other.action === 'delete' && other.network === debt.network && other.type === debt.type && other.edgegrid === debt.edgegrid) ? 'delete' : 'invalidate'
}
