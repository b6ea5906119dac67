/** How many are told before others have their turn: about a millisecond of work. */
const atOnce = 100

/** Tells all, a few in each turn of the event loop: however many listen, they hold nobody up. Who joins or leaves meanwhile may be told or not. */
export async function inTurns<Each> (all: Iterable<Each>, tell: (each: Each) => void): Promise<void> {
  let told = 0
  for (const each of all) {
    if (++told % atOnce === 0) await new Promise(resolve => { setImmediate(resolve) })
    tell(each)
  }
}
