import { splitObjects, type PurgeObject } from '../../purge/batch.ts'
import type { DebtRow } from '../../store/tables.ts'

/** A debt that is due, as far as packing concerns it. Candidates come in the order in which they are to go. */
export interface Candidate extends Pick<DebtRow, 'id' | 'network' | 'action' | 'object' | 'suspect'> { due_at: Date }

/** One request to be sent: objects of one network and action. */
export interface Parcel {
  network: DebtRow['network']
  action: DebtRow['action']
  objects: string[]
  /** The objects travel by themselves, because one of them was refused. */
  suspect: boolean
  /** More objects of its kind would have fitted. */
  rest: boolean
}

export interface PackingOptions {
  type: DebtRow['type']
  candidates: readonly Candidate[]
  /** The most requests. */
  slots: number
  /** More wait than the candidates: the last body of many had better wait for them. */
  more: boolean
  /** Whether a body that is not full may go: its oldest object waited long enough, and the last such body of its kind is long gone. */
  isRipe: (kind: string, oldest: Date) => boolean
}

/** Bodies that share a pace: one that is not full goes about once a second. */
export const kindOf = ({ network, action }: Pick<Parcel, 'network' | 'action'>, type: DebtRow['type']): string => `${type} ${network} ${action}`

/** The object as it stands in a body. */
export const toWire = (object: string, type: DebtRow['type']): PurgeObject => type === 'cpcode' ? Number(object) : object

/** Each object once, with the strongest action that anybody wants for it. */
function unite (candidates: readonly Candidate[]): Candidate[] {
  const united = new Map<string, Candidate>()
  for (const candidate of candidates) {
    const key = `${candidate.network} ${candidate.object}`
    const known = united.get(key)
    if (known === undefined) united.set(key, { ...candidate })
    else if (candidate.action === 'delete') known.action = 'delete'
  }
  return [...united.values()]
}

/** What packing comes to. */
export interface Packed {
  /** In the order in which they are to go. */
  parcels: Parcel[]
  /** What fits no body at all. */
  tooLong: Candidate[]
  /** More could have gone, were there more slots. */
  cut: boolean
}

/**
 * Packs what is due into as few bodies as there can be: full ones now, the rest when it is ripe. What is suspect of having
 * spoiled a request goes by itself and last.
 */
export function packParcels ({ type, candidates, slots, more, isRipe }: PackingOptions): Packed {
  const byNumber = Map.groupBy(unite(candidates), each => `${kindOf(each, type)} ${each.suspect ?? ''}`)
  const groups = [...byNumber.values()].sort((a, b) => Number(isSuspect(a)) - Number(isSuspect(b)))
  const parcels: Parcel[] = []
  const tooLong: Candidate[] = []
  for (const group of groups) {
    const { network, action } = group[0] as Candidate
    const split = splitObjects(group.map(({ object }) => toWire(object, type)))
    const long = new Set(split.tooLong.map(String))
    tooLong.push(...group.filter(({ object }) => long.has(object)))
    const suspect = isSuspect(group)
    const bodies = split.batches.map((objects): Parcel => ({ network, action, objects: objects.map(String), suspect, rest: false }))
    const last = bodies.pop()
    parcels.push(...bodies)
    // Of a flood more is still to come, which will fill this one.
    if (last === undefined || (more && bodies.length > 0)) continue
    last.rest = true
    const oldest = new Date(Math.min(...group.map(each => each.due_at.getTime())))
    if (suspect || isRipe(kindOf(last, type), oldest)) parcels.push(last)
  }
  return { parcels: parcels.slice(0, slots), tooLong, cut: parcels.length > slots }
}

const isSuspect = (group: readonly Candidate[]) => group[0]?.suspect !== null
