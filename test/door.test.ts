import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'

// Nothing answers at the other sides, so that jobs stay as they are stored.
const locked = await buildApp(testConfig({ DATA_DIR: await makeDataDir(t), API_TOKENS: 'ops:a-long-secret-for-ops,ci:another-long-secret' }), { logger: false })
const open = await buildApp(testConfig({ DATA_DIR: await makeDataDir(t) }), { logger: false })
t.teardown(async () => { await Promise.all([locked.close(), open.close()]) })

const body = { bucket: 'example-assets', key: 'a.css' }

t.test('a call without a known token is refused, and what is open stays open', async t => {
  for (const authorization of [undefined, 'Basic b3BzOng=', 'Bearer wrong', 'Bearer ', 'Bearer a-long-secret-for-ops x']) {
    const answer = await locked.inject({ method: 'POST', url: '/sync', payload: body, headers: authorization === undefined ? {} : { authorization } })
    t.equal(answer.statusCode, 401)
    t.equal(answer.json().code, 'unauthorized')
    t.match(answer.headers['www-authenticate'], /^Bearer/)
    t.match(answer.headers['content-type'], /^application\/problem\+json/)
  }
  for (const url of ['/livez', '/readyz', '/metrics', '/openapi.yaml', '/docs']) t.equal((await locked.inject(url)).statusCode, 200, url)
})

t.test('a token opens, and its name is in the job while its secret is nowhere', async t => {
  const answer = await locked.inject({ method: 'POST', url: '/sync', payload: body, headers: { authorization: 'bearer another-long-secret' } })
  t.equal(answer.statusCode, 202)
  t.equal(answer.headers['location'], `/jobs/${answer.json().id}`)
  t.match(answer.json().source, { type: 'rest', token: 'ci' })
  t.notMatch(answer.body, /another-long-secret/)
})

t.test('a secret in the address is one secret, and only where events come in', async t => {
  const post = async (query: string) => (await locked.inject({ method: 'POST', url: `/events?${query}`, payload: '{"Records":[]}' })).statusCode
  t.equal(await post('token=a-long-secret-for-ops'), 200)
  for (const query of ['token=', 'token=wrong', 'token=a-long-secret-for-ops&token=x', 'token[]=a-long-secret-for-ops']) t.equal(await post(query), 401, query)
  t.equal((await locked.inject('/jobs?token=a-long-secret-for-ops')).statusCode, 401)
})

t.test('a body is read as it is, or not at all', async t => {
  const post = async (url: string, payload: Buffer | string, type = 'application/json') => (await open.inject({ method: 'POST', url, payload, headers: { 'content-type': type } })).json()
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe6, 0x97]]) {
    const answer = await post('/sync', Buffer.concat([Buffer.from('{"bucket":"example-assets","key":"a'), Buffer.from(bytes), Buffer.from('.css"}')]))
    t.match(answer, { status: 400, code: 'invalid_request', detail: /UTF-8/ }, Buffer.from(bytes).toString('hex'))
  }
  t.equal((await post('/sync', '{"bucket":"example-assets","key":"日本.css"}')).key, '日本.css')
  t.match(await post('/sync', JSON.stringify(body), 'text/plain'), { status: 415, code: 'unsupported_media_type' })
  t.match(await post('/sync', ''), { status: 400, code: 'invalid_request', detail: /empty/ })
  // Many clients name the type though they send nothing.
  t.match(await post('/jobs/01a20b7c-f0ea-733e-b2cc-499eb9104510/retry', ''), { status: 404, code: 'job_not_found' })
})

t.test('without tokens only this machine is served, and no proxy', async t => {
  t.equal((await open.inject({ url: '/jobs', headers: { host: 'localhost:8080' } })).statusCode, 200)
  for (const headers of [{ host: 'edgeferry.example' }, { host: '127.0.0.1', 'x-forwarded-for': '1.2.3.4' }, { host: 'localhost', via: '1.1 proxy' }, { host: 'localhost', forwarded: 'for=x' }]) {
    const answer = await open.inject({ url: '/jobs', headers })
    t.equal(answer.statusCode, 403)
    t.equal(answer.json().code, 'proxy_without_tokens')
  }
  t.equal((await open.inject({ url: '/livez', headers: { host: 'edgeferry.example' } })).statusCode, 200)
})

t.test('bad requests are told what is wrong', async t => {
  const cases: Array<[string, object | string, number, string, RegExp]> = [
    ['/sync', { ...body, colour: 1 }, 400, 'invalid_request', /body\/colour is not a known member/],
    ['/sync', { bucket: 'example-assets' }, 400, 'invalid_request', /key/],
    ['/sync', { ...body, key: 7 }, 400, 'invalid_request', /body\/key must be string/],
    ['/sync', { ...body, onMissing: 'perhaps' }, 400, 'invalid_request', /must be one of fail, delete/],
    ['/sync', '{"bucket":', 400, 'invalid_request', /not valid JSON/],
    ['/sync', { ...body, key: 'a/../b' }, 400, 'key_not_mappable', /\.\./],
    ['/sync', { ...body, bucket: 'other' }, 403, 'bucket_not_allowed', /other is not in S3_BUCKETS/],
    ['/sync', { ...body, cpCode: 999 }, 403, 'cp_code_not_allowed', /999/],
    ['/sync', { ...body, purge: { urls: ['https://elsewhere.example/'] } }, 403, 'host_not_allowed', /elsewhere\.example/],
    ['/upload', { ...body, onMissing: 'delete' }, 400, 'invalid_request', /onMissing/],
    ['/purge', {}, 400, 'invalid_request', /in one way/],
    ['/purge', { bucket: 'example-assets' }, 400, 'invalid_request', /in one way/],
    ['/purge', { urls: ['https://www.example.com/a'], tags: ['x'] }, 400, 'invalid_request', /in one way/],
    ['/purge', { urls: ['https://www.example.com/*'] }, 400, 'invalid_request', /cannot be purged/],
    ['/purge', { urls: [] }, 400, 'invalid_request', /fewer than 1/],
    ['/purge', { tags: ['a b'] }, 400, 'invalid_request', /cannot be purged/],
    ['/purge', { cpCodes: [1], cpCode: 2 }, 400, 'invalid_request', /cpCode goes with key only/],
    ['/purge', { ...body, key: 'dir/' }, 400, 'key_not_mappable', /ends with a slash/],
    ['/purge', { ...body, purge: { by: 'none' } }, 400, 'invalid_request', /purges nothing/],
    ['/purge', { ...body, purge: { by: 'tag', cpCodes: [1] } }, 400, 'invalid_request', /another kind/],
    ['/sync', { ...body, purge: { urls: ['https://www.example.com/a'], cpCodes: [1] } }, 400, 'invalid_request', /give one of/],
    ['/sync', { ...body, labels: ['a\u0000b'] }, 400, 'invalid_request', /body\/labels\/0 holds U\+0000/],
    ['/upload', { ...body, versionId: '\ud800' }, 400, 'invalid_request', /half of a surrogate pair/],
    ['/jobs/retry', { filter: { key: '\u0000' } }, 400, 'invalid_request', /holds U\+0000/]
  ]
  for (const [url, payload, status, code, detail] of cases) {
    const answer = await open.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } })
    t.match({ status: answer.statusCode, ...answer.json() }, { status, code, detail }, JSON.stringify(payload))
  }
  t.match((await open.inject({ method: 'POST', url: '/sync', payload: 'x', headers: { 'content-type': 'text/csv' } })).json(), { status: 415, code: 'unsupported_media_type' })
  for (const url of ['/sync', '/upload', '/purge']) {
    t.match((await open.inject({ method: 'POST', url, payload: JSON.stringify(body).padEnd(1024 * 1024 + 1), headers: { 'content-type': 'application/json' } })).json(), { status: 413, code: 'payload_too_large' }, url)
  }
  t.match((await open.inject('/nowhere')).json(), { status: 404, code: 'not_found' })
  t.match((await open.inject('/jobs?colour=red')).json(), { status: 400, code: 'invalid_request' })
  t.match((await open.inject('/jobs?state=lost')).json(), { status: 400, code: 'invalid_request' })
  t.match((await open.inject('/jobs?after=x')).json(), { status: 400, code: 'invalid_request' })
  for (const query of ['key=%00', 'label=%00', 'prefix=a%00', 'bucket=%00', 'since=yesterday', 'since=2026-02-30T00:00:00']) t.match((await open.inject(`/jobs?${query}`)).json(), { status: 400, code: 'invalid_request' }, query)
  for (const time of ['0000-01-01T00:00:00Z', '2016-12-31T23:59:60Z', '9999-12-31T23:59:59-23:59']) t.equal((await open.inject(`/jobs?since=${time}&until=${time}`)).statusCode, 200, time)
  t.match((await open.inject('/objects?bucket=a&key=%00')).json(), { status: 400, code: 'invalid_request' })
  t.match((await open.inject('/jobs/urn:uuid:01a20b7c-f0ea-733e-b2cc-499eb9104510')).json(), { status: 400, code: 'invalid_request' })
  t.match((await open.inject('/jobs/01a20b7c-f0ea-733e-b2cc-499eb9104510')).json(), { status: 404, code: 'job_not_found' })
})

t.test('a purge may name 10,000 objects', async t => {
  const urls = Array.from({ length: 10_000 }, (_, n) => `https://www.example.com/${'a-long-path/'.repeat(5)}${n}.html`)
  t.equal((await open.inject({ method: 'POST', url: '/purge', payload: { urls } })).statusCode, 202)
  t.match((await open.inject({ method: 'POST', url: '/purge', payload: { urls: [...urls, 'https://www.example.com/one-more'] } })).json(), { status: 400, code: 'invalid_request' })
  t.equal((await open.inject({ method: 'POST', url: '/purge', payload: `"${'x'.repeat(4 * 1024 * 1024)}"`, headers: { 'content-type': 'application/json' } })).statusCode, 413)
})

t.test('jobs are listed newest first, page by page, and by filter', async t => {
  const ids: string[] = []
  for (const [n, label] of ['x', 'y', 'x', 'y', 'x'].entries()) {
    const answer = await open.inject({ method: 'POST', url: '/sync', payload: { ...body, key: `list/${n}.css`, labels: [label] } })
    ids.unshift(answer.json().id)
  }
  const seen: string[] = []
  for (let next: string | undefined = ''; next !== undefined;) {
    const page: { items: Array<{ id: string, timeline?: object }>, next?: string } = (await open.inject(`/jobs?prefix=list/&limit=2${next === '' ? '' : `&after=${next}`}`)).json()
    t.ok(page.items.every(job => job.timeline === undefined))
    seen.push(...page.items.map(job => job.id))
    next = page.next
  }
  t.same(seen, ids)
  t.equal((await open.inject('/jobs?label=y&state=queued&state=uploading&kind=sync')).json().items.length, 2)
  t.equal((await open.inject('/jobs?key=list/3.css&bucket=example-assets')).json().items.length, 1)
  t.equal((await open.inject('/jobs?until=2020-01-01T00:00:00Z')).json().items.length, 0)
  t.equal((await open.inject(`/jobs/${ids[0] ?? ''}`)).json().timeline[0].step, 'queued')
})

t.test('a caller that prefers to wait gets the job as it stands, or a 504 when strict', async t => {
  const call = async (prefer: string) => await open.inject({ method: 'POST', url: '/sync', payload: { ...body, key: 'wait.css' }, headers: { prefer } })
  const answer = await call('wait=1')
  t.equal(answer.statusCode, 202)
  t.equal(answer.headers['preference-applied'], 'wait=1')
  const strict = await call('wait=0, handling=strict')
  t.equal(strict.statusCode, 504)
  t.match(strict.json(), { code: 'not_finished', job: { key: 'wait.css' } })
  t.equal((await call('wait=soon')).headers['preference-applied'], undefined)
})

t.test('readiness tells each check, and stopping turns it off', async t => {
  t.match((await open.inject('/readyz?verbose')).json(), { ready: true, checks: [{ name: 'database', ok: true }] })
  t.match((await open.inject('/metrics')).body, /edgeferry_queue_depth\{queue="jobs"\} \d/)
  const drained = open.drain()
  const answer = await open.inject('/readyz?verbose')
  t.match({ status: answer.statusCode, ...answer.json() }, { status: 503, ready: false, checks: [{}, { name: 'stopping', ok: false }] })
  t.equal(answer.headers.connection, 'close', 'callers are to look for another replica')
  await drained
})

t.test('whoever stops does not wait for a refusal that is held back', async t => {
  const app = await buildApp(testConfig({ DATA_DIR: await makeDataDir(t), API_TOKENS: 'ceph:a-long-secret-for-ceph' }), { logger: false })
  const refused = app.inject({ method: 'POST', url: '/events?token=wrong', headers: { 'user-agent': '' }, payload: '{}' })
  await app.inject('/livez')
  await app.close()
  t.equal((await refused).statusCode, 401)
})

t.test('a method that an address does not know is 405, and says which it knows', async t => {
  for (const [method, url, allow] of [
    ['GET', '/jobs/retry', 'POST'], ['DELETE', '/jobs/retry', 'POST'], ['GET', '/sync?x=1', 'POST'], ['PUT', '/jobs', 'GET, HEAD'],
    // The framework wants a body of this method, and would call its absence our fault.
    ['QUERY', '/jobs', 'GET, HEAD'], ['QUERY', '/jobs/01a20b7c-f0ea-733e-b2cc-499eb9104510', 'GET, HEAD']
  ] as const) {
    const answer = await locked.inject({ method: method as 'GET', url })
    t.match(answer.json(), { status: 405, code: 'method_not_allowed' }, `${method} ${url}`)
    t.equal(answer.headers['allow'], allow, `${method} ${url}`)
  }
  for (const method of ['GET', 'QUERY']) t.match((await locked.inject({ method: method as 'GET', url: '/nowhere' })).json(), { status: 404, code: 'not_found' })
})

t.test('who hangs up in the middle of a body is no error of ours', async t => {
  const lines: string[] = []
  const stream = new Writable({ write (chunk, _, done) { lines.push(String(chunk)); done() } })
  const app = await buildApp(testConfig({ DATA_DIR: await makeDataDir(t) }), { logger: { level: 'error', stream } })
  t.teardown(async () => { await app.close() })
  const errors: Error[] = []
  const failed = new Promise<void>(resolve => { app.addHook('onError', async (_, __, error) => { if (errors.push(error) === 2) resolve() }) })
  await app.listen({ port: 0 })
  for (const path of ['/sync', '/events']) {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    socket.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 200\r\nexpect: 100-continue\r\n\r\n{"bucket":`)
    await once(socket, 'data')
    socket.destroy()
  }
  await failed
  await app.close()
  t.same(lines, [])
})

t.test('a connection on which nobody asked anything does not keep the service from stopping', async t => {
  const app = await buildApp(testConfig({ DATA_DIR: await makeDataDir(t) }), { logger: false })
  await app.listen({ port: 0 })
  const accepted = once(app.server, 'connection')
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  const ended = once(socket, 'close')
  socket.resume()
  await accepted
  await app.close()
  await ended
  t.pass('both ended')
})
