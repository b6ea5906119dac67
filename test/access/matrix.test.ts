import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hashSecret, scopes, type Scope } from '../../src/access/tokens.ts'
import { buildApp } from '../../src/app.ts'
import { testConfig } from '../app.ts'
import { makeDataDir } from '../data-dir.ts'

const secretOf = (name: string) => `the-secret-of-${name}`
const dir = await makeDataDir(t)
const file = join(dir, 'tokens.yaml')
const entry = (name: string, given: readonly Scope[], more = '') => `- { name: ${name}, sha256: ${hashSecret(secretOf(name)).toString('hex')}, scopes: [${given.join(', ')}]${more} }\n`
const narrow = scopes.map(scope => entry(scope, [scope])).join('')
const limited = entry('limited', scopes, ', buckets: [example-assets], cpCodes: [123456]')
const others = entry('elsewhere', ['events'], ', buckets: [other-assets]') + entry('elsecode', ['events'], ', cpCodes: [555]')
const pairs = entry('sync+override', ['sync', 'override']) + entry('purge+override', ['purge', 'override']) + entry('sync+wide', ['sync', 'purge-wide']) + entry('wide+override', ['purge-wide', 'override'])
writeFileSync(file, narrow + limited + others + pairs)
const variables = {
  DATA_DIR: dir,
  API_TOKENS_FILE: file,
  S3_BUCKETS: 'example-assets,other-assets',
  NS_CP_CODES: '555',
  PURGE_URLS: 'https://www.example.com/{key},https://img.example.com/i/{keyWithoutPrefix}?v=1',
  PURGE_HOSTS: 'www.example.com,img.example.com,more.example.com',
  PURGE_CP_CODES: '777'
}
const app = await buildApp(testConfig(variables), { logger: false })
t.teardown(async () => { await app.close() })
await app.ready()

const as = (name: string) => ({ authorization: `Bearer ${secretOf(name)}` })

/** The scopes of which one opens an operation. */
const table: Record<string, Scope[]> = {
  syncObject: ['sync'],
  uploadObject: ['upload'],
  purgeObjects: ['purge', 'purge-wide'],
  receiveEvents: ['events'],
  listJobs: ['read'],
  getJob: ['read'],
  getObjects: ['read'],
  listPurges: ['read'],
  retryJob: ['admin', 'sync', 'upload', 'purge'],
  cancelJob: ['admin', 'sync', 'upload', 'purge'],
  releaseJob: ['admin'],
  retryJobs: ['admin'],
  followJob: ['read'],
  followJobs: ['read']
}

t.test('each operation opens for its scopes and for no other', async t => {
  const operations = Object.entries(app.swagger().paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { operationId: string, security?: object }>).map(([method, { operationId, security }]) => ({ path, method, operationId, security })))
  t.same(operations.filter(each => each.security !== undefined).map(each => each.operationId).sort(), Object.keys(table).sort(), 'every operation that needs a token is in the table')
  for (const { path, method, operationId } of operations.filter(each => each.security !== undefined)) {
    for (const scope of scopes) {
      // A request that is let in fails for what it asks; nothing is done.
      if (operationId === 'followJobs' && scope === 'read') continue // It would never end.
      const answer = await app.inject({ method: method.toUpperCase() as 'GET', url: `${path.replace('{id}', '01a20b7c-f0ea-733e-b2cc-499eb9104510')}?unknown=1`, payload: method === 'post' ? { unknown: 1 } : undefined, headers: as(scope) } as never)
      if (table[operationId]?.includes(scope) === true) t.notMatch([401, 403], [answer.statusCode], `${scope} may ${operationId}: ${answer.statusCode}`)
      else t.match(answer.json(), { status: 403, code: 'forbidden' }, `${scope} may not ${operationId}`)
    }
  }
})

const object = { bucket: 'example-assets', key: 'a b.css' }

t.test('what leaves the rules, and what reaches wide, needs more', async t => {
  const cases: Array<[string, object, Record<string, 202 | 'forbidden' | 'host_not_allowed' | 'cp_code_not_allowed'>]> = [
    ['/sync', { ...object, path: 'a b.css' }, { sync: 202 }],
    ['/sync', { ...object, cpCode: 123456 }, { sync: 202 }],
    ['/sync', { ...object, path: 'other.css' }, { sync: 'forbidden', 'sync+override': 202 }],
    ['/sync', { ...object, cpCode: 555 }, { sync: 'forbidden', 'sync+override': 202 }],
    ['/sync', { ...object, cpCode: 556 }, { sync: 'cp_code_not_allowed', 'sync+override': 'cp_code_not_allowed' }],
    ['/sync', { ...object, purge: { by: 'none' } }, { sync: 202 }],
    ['/sync', { ...object, purge: { urls: ['https://www.example.com/a%20b.css'] } }, { sync: 202 }],
    ['/sync', { ...object, purge: { urls: ['https://www.example.com/{key}'] } }, { sync: 202 }],
    ['/sync', { ...object, purge: { urls: ['https://www.example.com/b.css'] } }, { sync: 'forbidden', 'sync+override': 202 }],
    ['/sync', { ...object, key: 'evil.example', purge: { urls: ['https://{key}/'] } }, { 'sync+override': 'host_not_allowed' }],
    ['/sync', { ...object, purge: { urls: ['https://elsewhere.example/'] } }, { sync: 'host_not_allowed', 'sync+override': 'host_not_allowed' }],
    ['/sync', { ...object, purge: { cpCodes: [777] } }, { sync: 'forbidden', 'sync+override': 'forbidden', 'sync+wide': 202 }],
    ['/sync', { ...object, purge: { by: 'cpcode' } }, { sync: 'forbidden', 'sync+wide': 202 }],
    ['/sync', { ...object, purge: { tags: ['t'] } }, { sync: 'forbidden', 'sync+wide': 202 }],
    ['/purge', object, { purge: 202, 'purge-wide': 'forbidden' }],
    ['/purge', { urls: ['https://www.example.com/x', 'https://www.example.com/y?z', 'https://img.example.com/i/q?v=1'] }, { purge: 202, 'purge-wide': 'forbidden' }],
    ['/purge', { urls: ['https://more.example.com/x'] }, { purge: 'forbidden', 'purge+override': 202 }],
    ['/purge', { urls: ['https://img.example.com/other'] }, { purge: 'forbidden', 'purge+override': 202 }],
    ['/purge', { urls: ['/L/1/2/3d/www.example.com/x'] }, { purge: 'forbidden', 'purge+override': 202 }],
    ['/purge', { urls: ['https://elsewhere.example/'] }, { purge: 'host_not_allowed', 'purge+override': 'host_not_allowed' }],
    ['/purge', { cpCodes: [777, 555] }, { purge: 'forbidden', 'purge+override': 'forbidden', 'purge-wide': 202 }],
    ['/purge', { cpCodes: [888] }, { 'purge-wide': 'forbidden', 'wide+override': 202 }],
    ['/purge', { tags: ['t'] }, { purge: 'forbidden', 'purge-wide': 202 }]
  ]
  for (const [url, payload, expected] of cases) {
    for (const [name, outcome] of Object.entries(expected)) {
      const answer = await app.inject({ method: 'POST', url, payload, headers: as(name) })
      t.equal(answer.statusCode === 202 ? 202 : answer.json().code, outcome, `${name}: ${url} ${JSON.stringify(payload)}`)
    }
  }
})

t.test('where the rule purges by CP code, naming its own is no override', async t => {
  const other = await buildApp(testConfig({ ...variables, DATA_DIR: await makeDataDir(t), PURGE_BY: 'cpcode' }), { logger: false })
  t.teardown(async () => { await other.close() })
  const call = async (name: string, payload: object) => (await other.inject({ method: 'POST', url: '/purge', payload, headers: as(name) })).statusCode
  t.equal(await call('purge', object), 202)
  t.equal(await call('purge', { ...object, cpCode: 777 }), 202)
  t.equal(await call('purge', { ...object, cpCode: 555 }), 403)
})

t.test('a token limited to buckets and CP codes stays within them, reading included', async t => {
  const mine = (await app.inject({ method: 'POST', url: '/sync', payload: object, headers: as('limited') })).json()
  const foreign = (await app.inject({ method: 'POST', url: '/sync', payload: { ...object, bucket: 'other-assets' }, headers: as('sync') })).json()
  const wide = (await app.inject({ method: 'POST', url: '/purge', payload: { tags: ['t'] }, headers: as('purge-wide') })).json()
  const ownWide = (await app.inject({ method: 'POST', url: '/purge', payload: { tags: ['t'] }, headers: as('limited') })).json()
  const status = async (url: string, payload?: object) => {
    const answer = await app.inject({ method: payload === undefined ? 'GET' : 'POST', url, payload, headers: as('limited') } as never) as unknown as { statusCode: number, json: () => { code?: string } }
    return answer.statusCode < 300 ? answer.statusCode : answer.json().code
  }
  t.equal(await status('/sync', { ...object, bucket: 'other-assets' }), 'bucket_not_allowed')
  t.equal(await status('/sync', { ...object, cpCode: 555 }), 'cp_code_not_allowed')
  t.equal(await status('/purge', { cpCodes: [777] }), 'cp_code_not_allowed')
  t.equal(await status('/objects?bucket=other-assets&key=a'), 'bucket_not_allowed')
  t.equal(await status('/objects?bucket=example-assets&key=a'), 200)
  t.equal(await status(`/jobs/${mine.id}`), 200)
  t.equal(await status(`/jobs/${foreign.id}`), 'job_not_found')
  t.equal(await status(`/jobs/${wide.id}`), 'job_not_found')
  t.equal(await status(`/jobs/${ownWide.id}`), 200)
  const listed = (await app.inject({ url: '/jobs?limit=200', headers: as('limited') })).json().items as Array<{ bucket?: string }>
  t.ok(listed.length > 0 && listed.every(job => job.bucket === 'example-assets'))
})

t.test('events bring no more than their token may name', async t => {
  const send = async (name: string, bucket: string) => (await app.inject({
    method: 'POST',
    url: '/events',
    payload: { Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key: `by-${name}.css` } } }] },
    headers: as(name)
  })).json()
  for (const name of ['elsewhere', 'events']) t.match(await send(name, 'other-assets'), { verdicts: { stored: 1 } }, name)
  t.same(await send('limited', 'other-assets'), { verdicts: { rejected: 1 }, jobIds: [] }, 'another bucket')
  t.match(await send('limited', 'example-assets'), { verdicts: { stored: 1 } })
  t.same(await send('elsewhere', 'example-assets'), { verdicts: { rejected: 1 }, jobIds: [] }, 'another bucket')
  t.same(await send('elsecode', 'example-assets'), { verdicts: { rejected: 1 }, jobIds: [] }, 'another CP code')
})

t.test('who guesses is slowed, and whoever knows a secret still gets in from there', async t => {
  const from = async (authorization: string, remoteAddress = '192.0.2.7') => await app.inject({ url: '/jobs?limit=1', headers: { authorization }, remoteAddress })
  const seen = new Set<number>()
  for (let n = 0; n < 40; n++) seen.add((await from(`Bearer guess-${n}`)).statusCode)
  t.same([...seen], [401, 429])
  const answer = await from('Bearer another-guess')
  t.match(answer.json(), { status: 429, code: 'too_many_requests' })
  t.ok(Number(answer.headers['retry-after']) >= 1)
  t.equal((await from(`Basic ${Buffer.from(`me:${secretOf('read')}`).toString('base64')}`)).statusCode, 200)
  t.equal((await from('Bearer guess', '192.0.2.8')).statusCode, 401)
  t.equal((await app.inject({ url: '/jobs', remoteAddress: '192.0.2.7' })).statusCode, 401, 'no secret is no guess')
})

t.test('tokens change while the service runs, by name and expiry, and the name is in the metrics', async t => {
  writeFileSync(file, entry('read', ['sync']) + entry('late', ['read'], ', expires: 2026-01-01'))
  t.ok(await app.reload(() => testConfig(variables)))
  t.equal((await app.inject({ url: '/jobs', headers: as('read') })).statusCode, 403)
  t.match((await app.inject({ url: '/jobs', headers: as('late') })).json(), { status: 401, detail: /expired/ })
  t.equal((await app.inject({ url: '/jobs', headers: as('admin') })).statusCode, 401)
  t.same(['read', 'late', 'admin', undefined].map(name => app.isTokenValid(name)), [true, false, false, false])
  t.match((await app.inject('/metrics')).body, /edgeferry_api_requests_total\{operation="listJobs",status="403",token="read"\} \d/)
  t.ok(await app.reload(() => ({ ...testConfig(variables), tokens: 'open' })))
  t.ok(app.isTokenValid('anybody'))
})
