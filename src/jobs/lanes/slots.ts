/** The right to copy one object now: there are only so many. */
export interface Slot {
  /** For small objects only. */
  isExpress: boolean
  /** Resolves once the slot is there; false if none came free in time. */
  take: () => Promise<boolean>
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
  /** How long a lane waits for a slot before it is given back (2000). */
  patienceMs?: number
  /** Called when there may be room. */
  onRelease: () => void
}

/** Slots that were given back within so long tell how many are soon free again. */
const recentMs = 500
const mostAhead = 192

/**
 * Copies are few, but claiming and settling lanes is cheap only by the dozen: so lanes are fetched ahead of their slots,
 * as many as were done within the last moments. Where large objects take their time, none is: another replica may be
 * free.
 */
export function createSlots ({ count, isExpress = false, patienceMs = 2000, onRelease }: SlotsOptions): Slots {
  let free = count
  let outstanding = 0
  let isClosed = false
  const waiting = new Set<(taken: boolean) => void>()
  let ended: number[] = []

  function giveBack (): void {
    ended.push(performance.now())
    if (ended.length > 2 * mostAhead) ended = ended.slice(-mostAhead)
    const [next] = waiting
    if (next === undefined) free++
    else next(true)
  }

  return {
    room () {
      const since = performance.now() - recentMs
      const ahead = isExpress ? 0 : Math.min(mostAhead, ended.filter(at => at > since).length)
      const room = count + ahead - outstanding
      // A few at a time would cost as much as many.
      return room < ahead / 2 ? 0 : room
    },
    close () {
      free = 0
      isClosed = true
      for (const settle of waiting) settle(false)
    },
    create () {
      let isTaken = false
      let isOver = false
      let settle: (taken: boolean) => void = () => {}
      outstanding++
      return {
        isExpress,
        async take () {
          if (isClosed) return false
          if (free === 0) {
            return await new Promise<boolean>(resolve => {
              const timer = setTimeout(() => { settle(false) }, patienceMs)
              settle = taken => {
                clearTimeout(timer)
                waiting.delete(settle)
                isTaken = taken
                resolve(taken)
              }
              waiting.add(settle)
            })
          }
          free--
          isTaken = true
          return true
        },
        release () {
          if (isOver) return
          isOver = true
          outstanding--
          if (isTaken) giveBack()
          else settle(false)
          onRelease()
        }
      }
    }
  }
}
