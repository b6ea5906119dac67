import { createGate } from './gate.ts'

/** The right to copy one object: there are only so many. */
export interface Slot {
  /** For small objects only. */
  isExpress: boolean
  /** Resolves once the object may be opened and what comes before its upload be done; false if that took too long, or the signal ended the wait. */
  prepare: (signal: AbortSignal) => Promise<boolean>
  /** Resolves once it may also be uploaded; false as above. */
  take: (signal: AbortSignal) => Promise<boolean>
  /** Gives it back, or the wait for it up. Further calls do nothing. */
  release: () => void
}

/** The slots of one process, and how many lanes it may hold to keep them busy. */
export interface Slots {
  /** A slot to be taken when its lane is claimed. */
  create: () => Slot
  /** How many more lanes may be fetched now. */
  room: () => number
  /** Gives out no more: whoever waits is told so. */
  close: () => void
}

export interface SlotsOptions {
  count: number
  /** Slots for what has just changed and is small, beside those for everything. */
  isExpress?: boolean
  /** How long a lane waits, for either, before it is given back (2000). */
  patienceMs?: number
  /** Called when there may be room. */
  onRelease: () => void
}

/** So many objects are prepared, or uploaded already, for each that may be uploaded: what the database is asked before is asked for several at once. */
const preparedEach = 2
/** Slots that were given back within so long tell how many are soon free again. */
const recentMs = 500
const mostAhead = 192

/**
 * Copies are few, but claiming and settling lanes is cheap only by the dozen: so lanes are fetched ahead of their slots,
 * as many as were done within the last moments. Where large objects take their time, none is: another replica may be
 * free.
 */
export function createSlots ({ count, isExpress = false, patienceMs = 2000, onRelease }: SlotsOptions): Slots {
  const preparing = createGate(preparedEach * count, patienceMs)
  const uploading = createGate(count, patienceMs)
  let outstanding = 0
  let ended: number[] = []
  return {
    room () {
      const since = performance.now() - recentMs
      const ahead = isExpress ? 0 : Math.min(mostAhead, ended.filter(at => at > since).length)
      const room = count + ahead - outstanding
      // A few at a time would cost as much as many.
      return room < ahead / 2 ? 0 : room
    },
    close () {
      preparing.close()
      uploading.close()
    },
    create () {
      const preparation = preparing.visit()
      const upload = uploading.visit()
      /** It had its turn, whatever came of that; who waits in vain tells nothing of how soon slots are free. */
      let hadTurn = false
      let isOver = false
      outstanding++
      return {
        isExpress,
        async prepare (signal) {
          hadTurn = await preparation.enter(signal)
          return hadTurn
        },
        async take (signal) {
          hadTurn = await upload.enter(signal)
          return hadTurn
        },
        release () {
          if (isOver) return
          isOver = true
          outstanding--
          upload.leave()
          preparation.leave()
          if (hadTurn) {
            ended.push(performance.now())
            if (ended.length > 2 * mostAhead) ended = ended.slice(-mostAhead)
          }
          onRelease()
        }
      }
    }
  }
}
