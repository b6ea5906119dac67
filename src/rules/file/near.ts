/** The name that was likely meant: the same but for case and signs between, or no more than two strokes away. */
export function findNear (given: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '')
  const limit = Math.min(2, Math.floor(given.length / 2))
  return known.find(each => plain(each) === plain(given)) ??
    known.map(each => ({ each, away: distance(given.slice(0, 64), each) })).filter(({ away }) => away <= limit).sort((a, b) => a.away - b.away)[0]?.each
}

/** Strokes that lead from one text to another: letters put in, left out or replaced. */
function distance (from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1]
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(next[j] as number + 1, row[j + 1] as number + 1, row[j] as number + (letter === to[j] ? 0 : 1)))
    }
    row = next
  }
  return row[to.length] as number
}

/** A hint to append to a fault, or nothing. */
export function suggest (given: string, known: readonly string[]): string {
  const near = findNear(given, known)
  return near === undefined ? known.length === 0 ? '' : `: known are ${known.join(', ')}` : `: did you mean ${near}?`
}
