import type { FastifyBaseLogger } from 'fastify'
import type { Budgets } from '../budgets/budgets.ts'
import { createNetStorageClient, kindOf, type NetStorageClient } from '../netstorage/client.ts'
import { createPurgeClient, type PurgeClient, type PurgeClientOptions } from '../purge/client.ts'
import type { RuleSet } from '../rules/rule-set.ts'

/** The clients of the accounts that the rules in force name. */
export interface Accounts {
  /** NetStorage by the name of the target. Whoever holds one may end what it does after a reload took it away. */
  targets: ReadonlyMap<string, NetStorageClient>
  /** Fast Purge by the name of the credentials. Each stays the same object when its credentials change. */
  purge: ReadonlyMap<string, PurgeClient>
  /** Makes clients for what is new or different, and lets go of what is gone. */
  adopt: (set: RuleSet) => void
  close: () => void
}

export interface AccountsOptions {
  stallTimeoutMs: number
  budgets: Budgets
  count: (upstream: string) => (request: { action: string, status: number }) => void
  log: Pick<FastifyBaseLogger, 'warn'>
}

/** Clients for the accounts of a rule set, kept in step with it. */
export function createAccounts (first: RuleSet, { stallTimeoutMs, budgets, count, log }: AccountsOptions): Accounts {
  const targets = new Map<string, NetStorageClient>()
  const purge = new Map<string, PurgeClient & { become: (credentials: RuleSet['edgegrids'][string]) => void }>()
  let known: Pick<RuleSet, 'targets' | 'edgegrids'> = { targets: {}, edgegrids: {} }
  const countRequest = count('netstorage')
  const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other)

  function adopt (set: RuleSet): void {
    budgets.adopt(Object.values(set.targets))
    for (const [name, client] of targets) {
      if (isSame(set.targets[name], known.targets[name])) continue
      client.retire()
      targets.delete(name)
    }
    for (const [name, target] of Object.entries(set.targets)) {
      if (targets.has(name)) continue
      targets.set(name, createNetStorageClient({
        ...target,
        stallTimeoutMs,
        admit: async (kind, signal) => { await budgets.of(target.hostname)?.[kind]?.take(signal) },
        onRequest (request) {
          budgets.of(target.hostname)?.[kindOf(request.action)]?.report(request.status)
          countRequest(request)
        },
        onClockOffset: offsetSeconds => { log.warn({ offsetSeconds, target: name }, `the clock differs from NetStorage's by ${offsetSeconds} s: requests are signed with the corrected time; mend the clock of this machine`) }
      }))
    }
    // Credentials that are gone stay usable until the process ends: what is owed by them is still paid.
    for (const [name, credentials] of Object.entries(set.edgegrids)) {
      if (isSame(credentials, known.edgegrids[name])) continue
      const client = purge.get(name)
      if (client === undefined) purge.set(name, createRenewable(credentials, { timeoutMs: stallTimeoutMs, onRequest: count('fast-purge') }))
      else client.become(credentials)
    }
    known = { targets: set.targets, edgegrids: { ...known.edgegrids, ...set.edgegrids } }
  }

  adopt(first)
  return {
    targets,
    purge,
    adopt,
    close () { for (const target of targets.values()) target.close() }
  }
}

/** A Fast Purge client whose credentials can change under whoever holds it. */
function createRenewable (credentials: RuleSet['edgegrids'][string], options: Pick<PurgeClientOptions, 'timeoutMs' | 'onRequest'>) {
  let client = createPurgeClient({ ...credentials, ...options })
  return {
    send: async (...args: Parameters<PurgeClient['send']>) => await client.send(...args),
    become (fresh: RuleSet['edgegrids'][string]) { client = createPurgeClient({ ...fresh, ...options }) }
  }
}
