import http from 'node:http'
import { createRequire } from 'node:module'

/**
 * Runs calls of the npm package `netstorageapi`, one after the other, in a process of its own: it takes no port, so the
 * default of all plain HTTP must change. Arguments: the port, the account as JSON, the calls as JSON.
 */
export type Call = [method: string, ...args: unknown[]]
/** What came of a call: the status and the parsed answer, or why it failed. */
export interface Result { status?: number, answer?: unknown, error?: string }

type Method = (...args: unknown[]) => void
const NetStorage = createRequire(import.meta.url)('netstorageapi') as new (options: object) => Record<string, Method>

const [, , port, account, calls] = process.argv
Object.assign(http.globalAgent, { defaultPort: Number(port) })
const client = new NetStorage({ hostname: '127.0.0.1', ssl: false, ...JSON.parse(account as string) as object })
const results: Result[] = []
for (const [method, ...args] of JSON.parse(calls as string) as Call[]) {
  results.push(await new Promise<Result>(resolve => {
    client[method]?.(...args, (error: Error | null, response: { statusCode: number }, answer: unknown) => {
      resolve(error === null ? { status: response.statusCode, answer } : { error: error.message })
    })
  }))
}
console.log(JSON.stringify(results))
