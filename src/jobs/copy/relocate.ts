import { sql } from 'kysely'
import { AppError } from '../../errors.ts'
import { findRule, mapObject, type Rule } from '../../mapping.ts'
import type { Store, Tx } from '../../store/store.ts'
import type { JobRow } from '../../store/tables.ts'
import { laneOf, step } from '../job.ts'
import { advance, release, wake, type WakeUp, type Work } from '../lanes/lanes.ts'
import type { Limits } from '../permissions.ts'

/** What became of the rule that a job was stored under: that one if it still stands, else the one its object meets now. */
export function findRuleOf ({ rules }: Pick<Limits, 'rules'>, { rule: name, bucket, key }: JobRow): Rule {
  const rule = rules.find(each => each.name === name) ?? findRule(rules, bucket ?? '', key ?? '')
  if (rule !== undefined) return rule
  throw new AppError('no_rule', `The rule "${name}" is gone, and no other covers ${key} in ${bucket}: give the object a rule, then retry the job.`)
}

/**
 * Where a job goes whose target is gone: to the place its object has now. A path or CP code that the caller chose is
 * kept; throws `no_rule` where it cannot be.
 */
export function placeAnew (limits: Limits, doer: JobRow): { rule: Rule, cpCode: number, path: string } {
  const { bucket, key, cp_code: cpCode, path, target, solo } = doer as JobRow & { bucket: string, key: string, cp_code: number, path: string }
  const rule = findRule(limits.rules, bucket, key) ?? findRuleOf(limits, doer)
  if (!solo) return { rule, ...mapObject(rule, key) }
  if (limits.targets[rule.target]?.cpCodes.includes(cpCode) === true) return { rule, cpCode, path }
  throw new AppError('no_rule', `The target "${target}" is gone, and "${rule.target}", where rule "${rule.name}" copies to now, has no CP code ${cpCode}: ask again with another one.`)
}

/** Moves the work of a lane whose target is gone to the lane of its new place, and ends this run. Returns whether something waits in the old one. */
export async function relocate (boss: Store['boss'], tx: Tx, { work, wakeUp, target, now, place: { rule, cpCode, path } }: {
  work: Work
  wakeUp: WakeUp
  target: string
  now: Date
  place: ReturnType<typeof placeAnew>
}): Promise<boolean> {
  const lane = laneOf(rule.target, cpCode, path)
  const words = `the target ${target} is gone: by rule ${rule.name} to ${rule.target}, ${cpCode}/${path}`
  await advance(boss, tx, work.doer.id, now, sql`state = 'queued', attempts = ${work.doer.attempts - 1}, next_attempt_at = null, rule = ${rule.name},
    target = ${rule.target}, cp_code = ${cpCode}, path = ${path}, lane = ${lane}, timeline = timeline || ${step(now, 'queued', words)}::jsonb`)
  await wake(boss, tx, [{ target: rule.target, lane }])
  return await release(boss, tx, target, [wakeUp])
}
