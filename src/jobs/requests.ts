import { demand, demandBucket, demandCpCode, type Caller } from '../access/caller.ts'
import { AppError } from '../errors.ts'
import { checkKey, findRule, mapObject, purgeObjects, type Rule } from '../mapping.ts'
import type { PurgeBody, SyncBody, UploadBody } from '../schemas.ts'
import { urlHost } from '../spelling.ts'
import type { JobSource, PurgePlan, PurgeWish } from '../store/tables.ts'
import type { NewJob } from './job.ts'
import { createPermissions, type Limits } from './permissions.ts'

interface Place { bucket: string, key: string, cpCode?: number | undefined, path?: string | undefined }

/** Turns what a caller asked for into a job, or says in an AppError what is wrong with it and what to do. Pure. */
export function createRequests (limits: () => Limits) {
  const may = createPermissions(limits)

  function place (caller: Caller, { bucket, key, cpCode, path }: Place) {
    const { rules, buckets, targets } = limits()
    if (!buckets.includes(bucket)) throw new AppError('bucket_not_allowed', `The bucket ${bucket} is not in S3_BUCKETS or the rules (${buckets.join(', ')}).`)
    demandBucket(caller, bucket)
    const rule = findRule(rules, bucket, key)
    if (rule === undefined) {
      checkKey(key.replace(/(.)\/$/, '$1'))
      throw new AppError('no_rule', `No rule covers ${key} in ${bucket}.`)
    }
    const cpCodes = targets[rule.target]?.cpCodes ?? []
    if (cpCode !== undefined && !cpCodes.includes(cpCode)) throw new AppError('cp_code_not_allowed', `The storage CP code ${cpCode} is none of those of target ${rule.target}, where rule ${rule.name} copies to (${cpCodes.join(', ')}).`)
    const plain = mapObject(rule, key)
    const mapped = mapObject(rule, key, { ...(path === undefined ? {} : { path }), ...(cpCode === undefined ? {} : { cpCode }) })
    demandCpCode(caller, mapped.cpCode)
    const leaves = mapped.path !== plain.path || mapped.cpCode !== plain.cpCode
    if (leaves) demand(caller, ['override'], `the rule ${rule.name} puts this object at ${plain.cpCode}/${plain.path}`)
    return { rule, leaves, job: { bucket, key, rule: rule.name, target: rule.target, cpCode: mapped.cpCode, path: mapped.path } }
  }

  /** Lists that would not be looked at are a misunderstanding, which is better told than done. */
  function checkWish ({ by, urls, cpCodes, tags }: PurgeWish): void {
    const given = [...(urls === undefined ? [] : ['url']), ...(cpCodes === undefined ? [] : ['cpcode']), ...(tags === undefined ? [] : ['tag'])]
    if (given.length > 1) throw new AppError('invalid_request', 'A purge is by URL, by CP code or by tag: give one of urls, cpCodes and tags.')
    if (by !== undefined && given.some(each => each !== by)) throw new AppError('invalid_request', `The purge is by ${by}, and names objects of another kind.`)
  }

  return {
    sync (body: SyncBody, caller: Caller): NewJob {
      const { rule, job, leaves } = place(caller, body)
      if (body.purge !== undefined) {
        checkWish(body.purge)
        may.object(caller, rule, body.key, body.purge)
      }
      return { kind: 'sync', ...job, solo: leaves || body.path !== undefined, source: sourceOf(caller), labels: body.labels ?? [], request: pick(body) }
    },
    upload (body: UploadBody, caller: Caller): NewJob {
      const { job, leaves } = place(caller, body)
      return {
        kind: 'upload',
        ...job,
        solo: leaves || body.path !== undefined || body.versionId !== undefined,
        source: sourceOf(caller),
        labels: body.labels ?? [],
        request: pick(body),
        ...(body.versionId === undefined ? {} : { versionId: body.versionId })
      }
    },
    purge (body: PurgeBody, caller: Caller): NewJob {
      const { bucket, key, urls, cpCodes: codes, tags } = body
      const given = { ...(body.action === undefined ? {} : { action: body.action }), ...(body.network === undefined ? {} : { network: body.network }) }
      if (bucket !== undefined && key !== undefined) {
        demand(caller, ['purge'], 'a purge of an object needs it')
        const isDeliveryCode = findRule(limits().rules, bucket, key)?.purge.by === 'cpcode'
        const { job, rule } = place(caller, { bucket, key, cpCode: isDeliveryCode ? undefined : body.cpCode })
        const wish = { ...given, ...body.purge, ...(isDeliveryCode && body.cpCode !== undefined && body.purge?.cpCodes === undefined ? { cpCodes: [body.cpCode] } : {}) }
        if (key.endsWith('/')) throw new AppError('key_not_mappable', `${key} ends with a slash, so it is never copied; give the URLs to purge as urls.`)
        checkWish(wish)
        may.object(caller, rule, key, wish)
        const { by, action, network, objects, edgegrid } = purgeObjects(rule, key, wish)
        if (by === 'none' || objects.length === 0) throw new AppError('invalid_request', `The rule ${rule.name} purges nothing for this object: say what to purge in "purge".`)
        return { kind: 'purge', ...job, source: sourceOf(caller), labels: body.labels ?? [], request: {}, purge: { plan: { by, action, network, objects }, edgegrid, ...(by === 'url' && action === 'invalidate' ? { cpCodes: rule.purge.cpCodes ?? [] } : {}) } }
      }
      if (urls !== undefined) {
        demand(caller, ['purge'], 'a purge of URLs needs it')
        may.urls(caller, urls)
      } else if (codes !== undefined) may.cpCodes(caller, codes)
      else may.tags(caller, tags ?? [])
      const by = urls !== undefined ? 'url' as const : codes !== undefined ? 'cpcode' as const : 'tag' as const
      const objects = [...new Set<string | number>(urls ?? codes ?? tags ?? [])]
      const keepers = findKeepers(limits().rules, objects)
      const edgegrids = [...new Set(keepers.map(rule => rule?.purge.edgegrid ?? 'default'))]
      if (edgegrids.length > 1) throw new AppError('invalid_request', `The objects need different EdgeGrid credentials (${edgegrids.join(', ')}): send one call for each.`)
      const plan: PurgePlan = { by, action: body.action ?? keepers[0]?.purge.action ?? 'invalidate', network: body.network ?? keepers[0]?.purge.network ?? 'production', objects }
      return { kind: 'purge', source: sourceOf(caller), labels: body.labels ?? [], request: {}, purge: { plan, edgegrid: edgegrids[0] as string } }
    }
  }
}

/** For each object that a call names without a key, the rule that purges the same host or CP code, else the first. */
function findKeepers (rules: readonly Rule[], objects: Array<string | number>): Array<Rule | undefined> {
  const keepers = new Map<string | number | undefined, Rule>()
  for (const rule of rules.toReversed()) {
    for (const object of [...rule.purge.cpCodes ?? [], ...(rule.purge.urls ?? []).map(url => urlHost(url))]) keepers.set(object, rule)
  }
  keepers.delete(undefined)
  return objects.map(object => keepers.get(typeof object === 'number' ? object : urlHost(object)) ?? rules[0])
}

function pick ({ force, onMissing, purge }: { force?: boolean, onMissing?: 'fail' | 'delete', purge?: PurgeWish }) {
  return { ...(force === undefined ? {} : { force }), ...(onMissing === undefined ? {} : { onMissing }), ...(purge === undefined ? {} : { purge }) }
}

/** Where a call's job came from. */
function sourceOf ({ token }: Caller): JobSource {
  return { type: 'rest', ...(token === undefined ? {} : { token }) }
}
