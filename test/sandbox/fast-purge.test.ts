import EdgeGrid from 'akamai-edgegrid'
import t from 'tap'
import { startFastPurge, type FastPurgeOptions } from '../../sandbox/fast-purge/server.ts'
import { checkSignature } from '../../sandbox/fast-purge/signature.ts'
import { bodyOf, fixtures, type Vector } from '../purge/edgegrid-verifier.ts'

const parse = (stamp: string) => Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(.*)\+0000$/, '$1-$2-$3T$4Z'))
const client = { clientToken: 'client-token', clientSecret: 'client-secret', accessToken: 'access-token' }

function check (vector: Vector, secrets: { client_token: string, client_secret: string, access_token: string }) {
  return checkSignature({
    method: vector.method,
    scheme: vector.scheme as 'https',
    host: vector.host,
    target: vector.target,
    headers: { ...Object.fromEntries(Object.entries(vector.headers).map(([name, value]) => [name.toLowerCase(), value])), authorization: vector.expected.authorization },
    body: Buffer.from(bodyOf(vector))
  }, {
    clients: [{ clientToken: secrets.client_token, clientSecret: secrets.client_secret, accessToken: secrets.access_token }],
    nowMs: parse(vector.timestamp),
    windowSeconds: 30,
    headersToSign: vector.headers_to_sign,
    maxBody: vector.max_body
  })
}

t.test('every vector passes, and not with another secret', async t => {
  for (const vector of fixtures.vectors) {
    const secrets = fixtures.credentials[(vector as Vector & { credentials: 'A' | 'B' }).credentials]
    t.equal(check(vector, secrets), undefined, vector.id)
    t.match(check(vector, { ...secrets, client_secret: 'other' }), { status: 401, detail: 'The signature does not match' })
  }
  for (const vector of fixtures.published.vectors) t.equal(check(vector, fixtures.published.credentials), undefined, vector.id)
})

async function start (t: Tap, options: Partial<FastPurgeOptions> = {}) {
  const emulator = await startFastPurge({ clients: [{ ...client }], ...options })
  t.teardown(async () => { await emulator.close() })
  // A signer that others wrote, and fetch: nothing of the service.
  const edgegrid = new EdgeGrid(client.clientToken, client.clientSecret, client.accessToken, '127.0.0.1')
  Object.assign(edgegrid, { config: { ...(edgegrid as unknown as { config: object }).config, host: emulator.origin } })
  const post = async (path: string, body: string, changes: RequestInit & { headers?: Record<string, string> } = {}) => {
    edgegrid.auth({ path, method: 'POST', headers: {}, body })
    const { url, headers } = (edgegrid as unknown as { request: { url: string, headers: Record<string, string> } }).request
    const answer = await fetch(url, { method: 'POST', body, ...changes, headers: { ...headers, ...changes.headers } })
    return { status: answer.status, headers: answer.headers, json: await answer.json() as Record<string, unknown> }
  }
  return { emulator, post }
}
type Tap = { teardown: (fn: () => Promise<void>) => void }

t.test('a purge signed by another client is accepted, logged and counted', async t => {
  // The clock stands still: tokens come back every few milliseconds.
  const at = Date.now()
  const { emulator, post } = await start(t, { now: () => at })
  const { status, json, headers } = await post('/ccu/v3/invalidate/url/production', '{"objects":["https://www.example.com/a","https://www.example.com/b"]}')
  t.equal(status, 201)
  t.match(json, { httpStatus: 201, purgeId: /^eiup-/, supportId: /^eiup-/, estimatedSeconds: 5 })
  t.equal(headers.get('x-ratelimit-remaining-objects'), '9998')
  t.match(emulator.purges(), [{ action: 'invalidate', type: 'url', network: 'production', objects: ['https://www.example.com/a', 'https://www.example.com/b'] }])
  t.equal((await post('/ccu/v3/rate-limit-status/url', '')).status, 201)
})

t.test('what Akamai refuses is refused, in its words', async t => {
  const { emulator, post } = await start(t, { hosts: ['www.example.com'], cpCodes: [1] })
  const url = '/ccu/v3/invalidate/url/production'
  const one = '{"objects":["https://www.example.com/a"]}'
  const cases: Array<[string, string, number, object, object?]> = [
    ['/ccu/v3/invalidate/url/', one, 404, { title: 'not found' }],
    ['/ccu/v3/invalidate/arl/production', one, 404, { title: 'not found' }],
    [url, one, 415, { httpStatus: 415 }, { headers: { 'Content-Type': 'text/plain' } }],
    [url, `{"objects":["https://www.example.com/${'a'.repeat(50_000)}"]}`, 413, { httpStatus: 413 }],
    [url, 'nonsense', 400, { title: 'Bad request' }],
    [url, '{"objects":[]}', 400, { detail: "'objects' attribute cannot be missing or empty" }],
    [url, '{"objects":{}}', 400, { detail: "'objects' attribute has expected type:[]string, received:object" }],
    [url, '{"hostname":"www.example.com","objects":["/a"]}', 400, { title: 'invalid attribute value' }],
    [url, '{"objects":["https://www.example.com/é"]}', 400, { title: 'bad URL', detail: /non-ASCII character 'é'/ }],
    [url, '{"objects":["https://www.example.com/*"]}', 400, { title: 'bad URL' }],
    [url, '{"objects":["www.example.com/a"]}', 400, { title: 'bad URL' }],
    [url, '{"objects":["https://-/a"]}', 400, { title: 'bad URL hostname' }],
    [url, '{"objects":["https://www.example.com/a","https://other.example/b"]}', 403, { title: 'unauthorized arl', detail: 'https://other.example/b' }],
    ['/ccu/v3/delete/cpcode/staging', '{"objects":["1"]}', 400, { title: 'bad cpcode', detail: '1' }],
    ['/ccu/v3/delete/cpcode/staging', '{"objects":[2]}', 403, { title: 'unauthorized cpcode', detail: '2' }],
    ['/ccu/v3/invalidate/tag/production', '{"objects":["a b"]}', 400, { title: 'bad tag' }]
  ]
  for (const [path, body, status, problem, changes] of cases) {
    const answer = await post(path, body, changes)
    t.equal(answer.status, status, body.slice(0, 60))
    t.match(answer.json, { httpStatus: status, ...problem })
    t.match(answer.headers.get('content-type'), /^application\/api-problem\+json/)
  }
  t.same(emulator.purges(), [], 'all or nothing')
})

t.test('the gateway refuses with its own shape', async t => {
  const { emulator, post } = await start(t)
  const send = async () => await post('/ccu/v3/invalidate/cpcode/production', '{"objects":[1]}')
  const mine = emulator.clients[0] as { grant?: boolean, active?: boolean, clientSecret: string }
  mine.grant = false
  t.match(await send(), { status: 403, json: { status: 403, type: /pep-authz\/deny$/, detail: 'The client does not have the grant needed for the request' } })
  mine.active = false
  t.match(await send(), { status: 401, json: { detail: 'Inactive client token' } })
  delete mine.active
  delete mine.grant
  mine.clientSecret = 'another'
  t.match(await send(), { status: 401, json: { detail: 'The signature does not match' } })
  mine.clientSecret = client.clientSecret
  emulator.clock.offsetSeconds = 31
  t.match(await send(), { status: 400, json: { type: /request-error$/, detail: 'Invalid timestamp' } })
  emulator.clock.offsetSeconds = 0
  t.equal((await send()).status, 201)
})

t.test('a body that was changed, and a request that is sent twice, are refused', async t => {
  const { post } = await start(t)
  const path = '/ccu/v3/invalidate/cpcode/production'
  t.match(await post(path, '{"objects":[1]}', { body: '{"objects":[2]}' }), { status: 401 })
  let copied: Record<string, string> = {}
  const { emulator } = await start(t)
  const edgegrid = new EdgeGrid(client.clientToken, client.clientSecret, client.accessToken, '127.0.0.1')
  Object.assign(edgegrid, { config: { ...(edgegrid as unknown as { config: object }).config, host: emulator.origin } })
  edgegrid.auth({ path, method: 'POST', headers: {}, body: '{"objects":[1]}' })
  copied = (edgegrid as unknown as { request: { headers: Record<string, string> } }).request.headers
  const twice = [1, 2].map(async () => (await fetch(`${emulator.origin}${path}`, { method: 'POST', body: '{"objects":[1]}', headers: copied })).status)
  t.same((await Promise.all(twice)).sort(), [201, 400])
})

t.test('token buckets refuse without charging, and refill with time', async t => {
  let ms = Date.now()
  const { emulator, post } = await start(t, { now: () => ms, buckets: { cpcode: { size: 3, perSecond: 0.5 } } })
  const send = async (objects: number[]) => await post('/ccu/v3/invalidate/cpcode/production', JSON.stringify({ objects }))
  t.equal((await send([1, 2])).status, 201)
  t.match(await send([3, 4]), { status: 429, json: { title: 'CPCODE Rate Limit exceeded', rateLimit: 3, rateLimitCurrentRequestSize: 2, rateLimitRemaining: 1 } })
  t.equal((await send([3])).status, 201)
  ms += 2000
  t.equal((await send([4])).status, 201)
  emulator.buckets.request.drain(1000)
  t.match(await send([5]), { status: 429, json: { title: 'Rate Limit exceeded', rateLimit: 100 } })
})

t.test('faults strike before and after a purge is accepted', async t => {
  const { emulator, post } = await start(t)
  const send = async () => await post('/ccu/v3/invalidate/cpcode/production', '{"objects":[1]}', { signal: AbortSignal.timeout(300) })
  emulator.faults.add({ times: 1, reset: 'before' })
  await t.rejects(send())
  emulator.faults.add({ times: 1, hang: 'after-commit' })
  await t.rejects(send())
  t.equal(emulator.purges().length, 1)
  emulator.faults.add({ times: 1, status: 503, latencyMs: 1, body: '{}' })
  t.equal((await send()).status, 503)
  t.equal((await send()).status, 201)
})
