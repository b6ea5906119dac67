import { AppError } from '../errors.ts'
import { findRule, mapKey, purgeObjects, type Rule } from '../mapping.ts'
import type { PurgeBody, SyncBody, UploadBody } from '../schemas.ts'
import { checkTag, checkUrl, urlHost } from '../spelling.ts'
import type { JobSource, PurgeReport, PurgeWish } from '../store/tables.ts'
import type { NewJob } from './job.ts'

/** What calls may name, from the configuration. */
export interface Limits {
  rules: () => readonly Rule[]
  buckets: readonly string[]
  cpCodes: readonly number[]
  hosts: readonly string[]
}

interface Place { bucket: string, key: string, cpCode?: number | undefined, path?: string | undefined }

/** Turns what a caller asked for into a job, or says in an AppError what is wrong with it and what to do. Pure. */
export function createRequests ({ rules, buckets, cpCodes, hosts }: Limits) {
  function place ({ bucket, key, cpCode, path }: Place) {
    if (!buckets.includes(bucket)) throw new AppError('bucket_not_allowed', `The bucket ${bucket} is not in S3_BUCKETS (${buckets.join(', ')}).`)
    if (cpCode !== undefined && !cpCodes.includes(cpCode)) throw new AppError('cp_code_not_allowed', `The storage CP code ${cpCode} is none of NS_CP and NS_CP_CODES (${cpCodes.join(', ')}).`)
    const rule = findRule(rules(), bucket, key)
    if (rule === undefined) throw new AppError('no_rule', `No rule covers ${key} in ${bucket}.`)
    // A folder marker maps to nothing, but whether it is one only S3 can tell: it goes on as a path that is never written.
    const marker = path === undefined && key.length > 1 && key.endsWith('/') ? '/' : ''
    const name = marker === '' ? key : key.slice(0, -1)
    const plain = mapKey(rule, name)
    const mapped = mapKey(rule, name, { ...(path === undefined ? {} : { path }), ...(cpCode === undefined ? {} : { cpCode }) })
    const leaves = mapped.path !== plain.path || mapped.cpCode !== plain.cpCode
    return { rule, leaves, job: { bucket, key, rule: rule.name, target: rule.target, cpCode: mapped.cpCode, path: mapped.path + marker } }
  }

  function checkWish (wish: PurgeWish | undefined): void {
    for (const url of wish?.urls ?? []) {
      const fault = checkUrl(url)
      if (fault !== undefined) throw new AppError('invalid_request', `The URL ${url} cannot be purged: ${fault}.`)
      const host = urlHost(url)
      if (host !== undefined && !hosts.includes(host)) throw new AppError('host_not_allowed', `The host ${host} is not in PURGE_HOSTS (${hosts.join(', ')}).`)
    }
    for (const tag of wish?.tags ?? []) {
      const fault = checkTag(tag)
      if (fault !== undefined) throw new AppError('invalid_request', `The cache tag ${tag} cannot be purged: ${fault}.`)
    }
  }

  return {
    sync (body: SyncBody, source: JobSource): NewJob {
      checkWish(body.purge)
      const { job, leaves } = place(body)
      return { kind: 'sync', ...job, solo: leaves || body.path !== undefined, source, labels: body.labels ?? [], request: pick(body) }
    },
    upload (body: UploadBody, source: JobSource): NewJob {
      const { job, leaves } = place(body)
      return {
        kind: 'upload',
        ...job,
        solo: leaves || body.path !== undefined || body.versionId !== undefined,
        source,
        labels: body.labels ?? [],
        request: pick(body),
        ...(body.versionId === undefined ? {} : { versionId: body.versionId })
      }
    },
    purge (body: PurgeBody, source: JobSource): NewJob {
      const { bucket, key, urls, cpCodes: codes, tags } = body
      const forms = [bucket ?? key, urls, codes, tags].filter(each => each !== undefined).length
      if (forms !== 1 || (bucket === undefined) !== (key === undefined)) {
        throw new AppError('invalid_request', 'Say what to purge in one way: bucket and key together, or urls, or cpCodes, or tags.')
      }
      const given = { ...(body.action === undefined ? {} : { action: body.action }), ...(body.network === undefined ? {} : { network: body.network }) }
      if (bucket !== undefined && key !== undefined) {
        checkWish(body.purge)
        const rule = findRule(rules(), bucket, key)
        const isDeliveryCode = rule?.purge.by === 'cpcode'
        const { job, rule: covering } = place({ bucket, key, cpCode: isDeliveryCode ? undefined : body.cpCode })
        const wish = { ...given, ...body.purge, ...(isDeliveryCode && body.cpCode !== undefined && body.purge?.cpCodes === undefined ? { cpCodes: [body.cpCode] } : {}) }
        if (key.endsWith('/')) throw new AppError('key_not_mappable', `${key} ends with a slash, so it is never copied; give the URLs to purge as urls.`)
        const { by, action, network, objects, edgegrid } = purgeObjects(covering, key, wish)
        if (by === 'none' || objects.length === 0) throw new AppError('invalid_request', `The rule ${covering.name} purges nothing for this object: say what to purge in "purge".`)
        return { kind: 'purge', ...job, source, labels: body.labels ?? [], request: {}, purge: { report: report(by, action, network, objects), edgegrid } }
      }
      if (body.cpCode !== undefined || body.purge !== undefined) throw new AppError('invalid_request', 'cpCode and purge go with bucket and key only.')
      checkWish({ ...(urls === undefined ? {} : { urls }), ...(tags === undefined ? {} : { tags }) })
      const by = urls !== undefined ? 'url' as const : codes !== undefined ? 'cpcode' as const : 'tag' as const
      const first = rules()[0]
      const plan = report(by, body.action ?? first?.purge.action ?? 'invalidate', body.network ?? first?.purge.network ?? 'production', [...new Set<string | number>(urls ?? codes ?? tags ?? [])])
      return { kind: 'purge', source, labels: body.labels ?? [], request: {}, purge: { report: plan, edgegrid: first?.purge.edgegrid ?? 'default' } }
    }
  }
}

const report = (by: PurgeReport['by'], action: PurgeReport['action'], network: PurgeReport['network'], objects: Array<string | number>): PurgeReport =>
  ({ by, action, network, objects, requests: [] })

function pick ({ force, onMissing, purge }: { force?: boolean, onMissing?: 'fail' | 'delete', purge?: PurgeWish }) {
  return { ...(force === undefined ? {} : { force }), ...(onMissing === undefined ? {} : { onMissing }), ...(purge === undefined ? {} : { purge }) }
}
