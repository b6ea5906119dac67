import { readFileSync } from 'node:fs'
import { listOf, type Environment } from '../environment.ts'
import type { Rule } from '../mapping.ts'
import { parseEdgerc, type EdgeGridCredentials } from '../purge/credentials.ts'
import { checkUrlTemplate } from '../templates.ts'
import type { Target } from './rule-set.ts'

/** The account that `NS_*` make. What is missing or wrong is added to `faults`; without secrets the key may be missing. */
export function makeTarget (e: Environment, faults: string[], withSecrets = true): Target {
  const need = (name: 'NS_HOSTNAME' | 'NS_KEYNAME' | 'NS_KEY' | 'NS_CP', what: string): string => {
    const value = e[name]
    if (value === undefined) faults.push(`${name} is not set: ${what}`)
    return value ?? ''
  }
  const hostname = need('NS_HOSTNAME', 'your NetStorage host, such as example-nsu.akamaihd.net')
  const keyName = withSecrets ? need('NS_KEYNAME', 'the name of your NetStorage upload account') : e.NS_KEYNAME ?? ''
  const key = withSecrets ? need('NS_KEY', 'the HTTP API key of that upload account (or NS_KEY_FILE)') : ''
  const cpCode = need('NS_CP', 'the CP code of your upload directory, such as NS_CP=123456')
  if (/[, ]/.test(keyName)) faults.push('NS_KEYNAME must hold no comma and no space')
  checkHost(e, 'NS_HOSTNAME', hostname, 'example-nsu.akamaihd.net', faults)
  return { hostname, keyName, key, cpCodes: [...new Set([cpCode, ...listOf(e.NS_CP_CODES)].map(Number))] }
}

/** Whether the environment names any part of an account. */
export function hasTarget (e: Environment): boolean {
  return [e.NS_HOSTNAME, e.NS_KEYNAME, e.NS_KEY, e.NS_CP].some(value => value !== undefined)
}

/** Whether the environment says where EdgeGrid credentials are. */
export function hasEdgegrid (e: Environment): boolean {
  return [e.AO_API_HOST, e.AKAMAI_HOST, e.AKAMAI_EDGERC].some(value => value !== undefined)
}

/** The credentials that `AO_*`, `AKAMAI_*` or an `.edgerc` make. */
export function makeEdgegrid (e: Environment, faults: string[]): EdgeGridCredentials | undefined {
  const found = readEdgegrid(e, faults)
  checkHost(e, 'AO_API_HOST', found?.host ?? '', 'akab-example.purge.akamaiapis.net', faults)
  return found
}

function readEdgegrid (e: Environment, faults: string[]): EdgeGridCredentials | undefined {
  const account = e.AKAMAI_ACCOUNT_KEY === undefined ? {} : { accountSwitchKey: e.AKAMAI_ACCOUNT_KEY }
  if (e.AKAMAI_EDGERC !== undefined && e.AO_API_HOST === undefined && e.AKAMAI_HOST === undefined) {
    try {
      return { ...parseEdgerc(readFileSync(e.AKAMAI_EDGERC, 'utf8'), e.AKAMAI_EDGERC_SECTION), ...account }
    } catch (error) {
      faults.push(`AKAMAI_EDGERC: ${(error as Error).message}`)
      return undefined
    }
  }
  const pick = (name: string, ours: string | undefined, theirs: string | undefined): string => {
    const value = ours ?? theirs
    if (value === undefined) faults.push(`${name} is not set: EdgeGrid credentials are needed to purge (four AO_* variables, or AKAMAI_EDGERC)`)
    return value ?? ''
  }
  return {
    host: pick('AO_API_HOST', e.AO_API_HOST, e.AKAMAI_HOST),
    clientToken: pick('AO_CLIENT_TOKEN', e.AO_CLIENT_TOKEN, e.AKAMAI_CLIENT_TOKEN),
    clientSecret: pick('AO_CLIENT_SECRET', e.AO_CLIENT_SECRET, e.AKAMAI_CLIENT_SECRET),
    accessToken: pick('AO_ACCESS_TOKEN', e.AO_ACCESS_TOKEN, e.AKAMAI_ACCESS_TOKEN),
    ...account
  }
}

/** A host that is missing was told of already. */
function checkHost (e: Environment, name: string, host: string, example: string, faults: string[]): void {
  const bare = host.replace(/^https?:\/\//, '')
  if (host !== '' && (!/^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:\d+)?\/?$/.test(bare) || !URL.canParse(`https://${bare}`))) {
    faults.push(`${name} must be a bare host name such as ${example} (or http://host:port, for emulators)`)
  }
  if (e.NODE_ENV === 'production' && host.startsWith('http://')) faults.push(`${name} starts with http://, which is for emulators only and refused when NODE_ENV=production`)
}

/** One rule a bucket of `S3_BUCKETS`, as `NS_CP` and `PURGE_*` say. */
export function makeRules (e: Environment, cpCode: number, faults: string[], warnings: string[]): Rule[] {
  const buckets = listOf(e.S3_BUCKETS)
  if (buckets.length === 0) faults.push('S3_BUCKETS is not set: name the bucket to copy from, such as S3_BUCKETS=example-assets, or say more in a RULES_FILE')
  const by = e.PURGE_BY ?? (e.PURGE_URLS === undefined ? undefined : 'url')
  if (by === undefined) {
    faults.push('PURGE_URLS is not set: give the URL of your objects on the CDN, such as https://www.example.com/{key}, or choose PURGE_BY=cpcode (purges all content of a CP code) or PURGE_BY=none')
  }
  const urls = listOf(e.PURGE_URLS)
  if (by === 'url' && urls.length === 0) faults.push('PURGE_BY=url needs PURGE_URLS, such as https://www.example.com/{key}')
  for (const url of urls) {
    const fault = checkUrlTemplate(url)
    if (fault !== undefined) faults.push(`PURGE_URLS: "${url}" is no URL template such as https://www.example.com/{key}: it ${fault}`)
  }
  const given = listOf(e.PURGE_CP_CODES).map(Number)
  const cpCodes = by === 'cpcode' && given.length === 0 ? [cpCode] : given
  if (cpCodes.length > given.length) {
    warnings.push('PURGE_CP_CODES is not set: purging the storage CP code, though cached content is usually filed under the delivery CP code of the property')
  }
  return buckets.map(bucket => ({
    name: bucket,
    bucket,
    prefix: '',
    include: [],
    exclude: [],
    target: 'default',
    cpCode,
    path: '{key}',
    deletes: 'propagate',
    etagIsMd5: 'auto',
    metadata: { contentEncoding: 'refuse', redirect: 'refuse' },
    purge: { by: by ?? 'none', urls, cpCodes, spelling: 'both', indexDocuments: ['index.html'], action: e.PURGE_ACTION, network: e.PURGE_NETWORK, edgegrid: 'default' }
  }))
}
