import type { Cost } from './loop.ts'

/** How a line of a report is printed. */
export type Print = (line: string) => void

export const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

export const percentile = (values: number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number

/** Runs all contestants in turn, round after round, so that what else the machine does strikes all alike. Returns medians. */
export async function interleave<Name extends string> (rounds: number, contestants: Record<Name, (round: number) => Promise<Cost>>): Promise<Record<Name, Cost>> {
  const names = Object.keys(contestants) as Name[]
  const costs = Object.fromEntries(names.map(name => [name, []])) as unknown as Record<Name, Cost[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of names) costs[name].push(await contestants[name](round))
  }
  return Object.fromEntries(names.map(name => [name, { ms: median(costs[name].map(cost => cost.ms)), cpuMs: median(costs[name].map(cost => cost.cpuMs)) }])) as Record<Name, Cost>
}

/** A table row: wall clock, ratio to the limit, CPU. */
export const row = (name: string, cost: Cost, limit: Cost, per: string, units: number): string =>
  `| ${name} | ${(cost.ms / 1000).toFixed(2)} s | ${(cost.ms / limit.ms).toFixed(2)} | ${(cost.cpuMs / 1000 / units).toFixed(2)} s ${per} |`

export const heading = ['| | wall clock | of the limit | CPU |', '|---|---|---|---|']
