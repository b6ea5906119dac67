import { purgeObjects } from '../../mapping.ts'
import type { Tx } from '../../store/store.ts'
import type { PurgePlan } from '../../store/tables.ts'
import type { Settlement, Terms } from '../settle.ts'
import { packCallIn, packOwe, priorities, restPriority, type Owing } from './owe.ts'

/** Writes down what verified copies owe to the edge. Returns, per settlement, what its jobs wait for; undefined = nothing. */
export async function incur (tx: Tx, settlements: readonly Settlement[], terms: Terms): Promise<Array<PurgePlan | undefined>> {
  const all = settlements.map(settlement => ({ ...settlement, owings: owingsOf(settlement, terms) }))
  // An event that found nothing changed asks for what is owed already, and for no more.
  const trip = tx.trip()
  packOwe(trip, all.flatMap(({ done, owings }) => done.outcome === 'unchanged' && done.present ? owings.filter(owing => owing.priority !== priorities.event) : owings))
  const callers = all.filter(({ owings }) => owings.some(owing => owing.asked && owing.objects.length > 0))
  const calls = callers.flatMap(({ wakeUp, work, owings }) => {
    const priority = Math.min(...owings.map(owing => owing.priority))
    return work.jobIds.map(jobId => ({ lane: wakeUp.lane, jobId, priority }))
  })
  const [owed] = await Promise.all([packCallIn(trip, calls), trip.send()])
  return all.map(each => callers.includes(each) && owed.has(each.wakeUp.lane) ? planOf(each.owings) : undefined)
}

/** What the callers of a copy want purged; an upload owes what its rule says, though nobody has asked for it yet. */
function owingsOf ({ wakeUp, work, rule, done }: Settlement, { purgeDelayMs, purgeRepeat }: Terms): Owing[] {
  const changed = done.outcome === 'uploaded' || done.outcome === 'deleted'
  // Gone from S3: deleted now, or found to be gone from NetStorage, too.
  const vanished = !done.present && done.outcome !== 'ignored'
  const asked = work.kind === 'sync' && done.outcome !== 'ignored'
  const wishes = asked ? work.wishes : done.outcome === 'uploaded' ? [{ wish: {}, byEvent: true }] : []
  return wishes.flatMap(({ wish, byEvent }): Owing[] => {
    const { by, action, network, edgegrid, objects } = purgeObjects(rule, work.doer.key as string, wish)
    if (by === 'none') return []
    return [{
      lane: wakeUp.lane,
      edgegrid,
      network,
      type: by,
      // What vanished is dropped by URL; a whole CP code is never dropped because of an event.
      action: vanished && by === 'url' ? 'delete' : by === 'cpcode' && byEvent ? 'invalidate' : action,
      objects,
      asked,
      delayMs: changed ? purgeDelayMs : 0,
      priority: byEvent ? priorities.event : restPriority(objects.length),
      repeat: changed && purgeRepeat,
      limited: by === 'cpcode' && byEvent,
      ...(by === 'url' ? { cpCodes: rule.purge.cpCodes ?? [] } : {}),
      jobIds: asked ? work.jobIds : []
    }]
  })
}

function planOf (owings: readonly Owing[]): PurgePlan | undefined {
  const first = owings.find(owing => owing.objects.length > 0)
  return first && { by: first.type, action: first.action, network: first.network, objects: [...new Set(owings.flatMap(owing => owing.objects))] }
}
