import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createPurgeClient, type PurgeClientOptions, type PurgeRequest } from '../../src/purge/client.ts'
import { PurgeRateLimited, PurgeRefused } from '../../src/purge/failures.ts'
import { fixtures, verify, type Received } from './edgegrid-verifier.ts'

/** What the server answers next: a status with a body, a connection that breaks, or nothing. */
type Act = { status: number, headers?: Record<string, string>, body?: string } | 'reset' | 'silence' | 'half'

const secrets = fixtures.credentials.A
const script: Act[] = []
const seen: Array<Received & { received: IncomingHttpHeaders }> = []
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { method = '', url: target = '', headers: received } = request
    seen.push({ method, scheme: 'http', host: received.host ?? '', target, headers: {}, body: Buffer.concat(chunks).toString(), authorization: received.authorization ?? '', received })
    const act = script.shift() ?? accepted()
    if (act === 'reset') request.socket.resetAndDestroy()
    else if (act === 'half') response.writeHead(201, { 'content-length': '100' }).write('{"httpStatus":201', () => request.socket.resetAndDestroy())
    else if (act !== 'silence') response.writeHead(act.status, { 'content-type': 'application/api-problem+json', ...act.headers }).end(act.body)
  })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
t.teardown(() => {
  server.close()
  server.closeAllConnections()
})
const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const accepted = (more: object = {}, headers?: Record<string, string>): Act =>
  ({ status: 201, headers, body: JSON.stringify({ httpStatus: 201, detail: 'Request accepted', supportId: 'eiup-1', purgeId: 'eiup-2', estimatedSeconds: 7, ...more }) })
const make = (more: Partial<PurgeClientOptions> = {}) => createPurgeClient({
  host, clientToken: secrets.client_token, clientSecret: secrets.client_secret, accessToken: secrets.access_token, ...more
})
const client = make()
const request: PurgeRequest = { action: 'invalidate', type: 'url', network: 'production', objects: ['https://www.example.com/a', 'https://www.example.com/é'] }
const follow = (...acts: Act[]) => {
  script.splice(0, Infinity, ...acts)
  seen.length = 0
}

t.test('a purge is signed, framed and accepted', async (t) => {
  follow()
  const before = Date.now()
  const receipt = await client.send(request)
  t.match(receipt, { purgeId: 'eiup-2', supportId: 'eiup-1', estimatedSeconds: 7, rateLimit: undefined })
  t.ok(receipt.acceptedAt.getTime() >= before && receipt.acceptedAt.getTime() <= Date.now())
  const [sent] = seen
  t.ok(sent)
  if (sent === undefined) return
  t.same(verify(sent, { secrets, now: new Date() }), { status: 201 })
  t.match(sent, { method: 'POST', target: '/ccu/v3/invalidate/url/production', body: JSON.stringify({ objects: request.objects }) })
  t.match(sent.received, { 'content-type': 'application/json', accept: 'application/json', 'content-length': String(Buffer.byteLength(sent.body)) })
  t.notOk(sent.received['transfer-encoding'] ?? sent.received.expect)
})

t.test('every action, type and network has its path, and an account switch key is signed with it', async (t) => {
  follow()
  const switching = make({ accountSwitchKey: '1-5C0YLB:1-8BYUX' })
  for (const action of ['invalidate', 'delete'] as const) {
    for (const [type, objects] of [['url', ['https://www.example.com/']], ['cpcode', [12345]], ['tag', ['a']]] as const) {
      for (const network of ['production', 'staging'] as const) await switching.send({ action, type, network, objects })
    }
  }
  t.equal(seen.length, 12)
  t.equal(new Set(seen.map(({ target }) => target)).size, 12)
  t.equal(seen[5]?.body, '{"objects":["a"]}')
  t.match(seen[3], { target: '/ccu/v3/invalidate/cpcode/staging?accountSwitchKey=1-5C0YLB%3A1-8BYUX', body: '{"objects":[12345]}' })
  const nonces = new Set<string>()
  for (const sent of seen) t.same(verify(sent, { secrets, now: new Date(), seen: nonces }), { status: 201 })
})

t.test('what an acceptance leaves out is filled in, and the eight headers are read', async (t) => {
  follow(accepted({ purgeId: undefined, estimatedSeconds: undefined }), accepted({ supportId: undefined, purgeId: undefined }), accepted({}, {
    'x-ratelimit-limit': '100',
    'x-ratelimit-limit-per-second': '50.00',
    'x-ratelimit-remaining': '99',
    'x-ratelimit-seconds-to-refresh-limit': '0.02',
    'x-ratelimit-limit-objects': '10000',
    'x-ratelimit-limit-per-second-objects': '200',
    'x-ratelimit-remaining-objects': '9904',
    'x-ratelimit-seconds-to-refresh-limit-objects': '0'
  }))
  t.match(await client.send(request), { purgeId: 'eiup-1', supportId: 'eiup-1', estimatedSeconds: 5 })
  t.match(await client.send(request), { purgeId: '', supportId: '' })
  t.same((await client.send(request)).rateLimit, {
    requests: { limit: 100, perSecond: 50, remaining: 99, secondsToFull: 0.02 },
    objects: { limit: 10000, perSecond: 200, remaining: 9904, secondsToFull: 0 }
  })
})

t.test('only 201 in the header and in the body is an acceptance', async (t) => {
  const answers: Act[] = [{ status: 200, body: '{"httpStatus":201}' }, { status: 201, body: '{"httpStatus":500}' }, { status: 201, body: '<html>' }, { status: 201 }]
  follow(...answers)
  for (const answer of answers) await t.rejects(client.send(request), { code: 'purge_unavailable', retryable: true }, JSON.stringify(answer))
})

t.test('refusals keep their meaning over the wire', async (t) => {
  const body = (members: object) => JSON.stringify(members)
  follow(
    { status: 403, body: body({ httpStatus: 403, title: 'unauthorized arl', detail: 'https://www.example.com/a', supportId: 's' }) },
    { status: 429, headers: { 'x-ratelimit-limit-per-second-objects': '0.5' }, body: body({ httpStatus: 429, title: 'CPCODE Rate Limit exceeded', rateLimitCurrentRequestSize: 3, rateLimitRemaining: 1 }) },
    { status: 400, headers: { date: new Date(Date.now() - 100_000).toUTCString() }, body: body({ type: 'x/pep-authn/request-error', status: 400, title: 'Bad request', detail: 'Invalid timestamp' }) },
    { status: 302, headers: { location: `${host}/elsewhere` } },
    { status: 503, body: '<html>' })
  await t.rejects(client.send(request), { constructor: PurgeRefused, code: 'purge_refused', offender: 'https://www.example.com/a', message: /to invalidate 2 URLs on production/ })
  await t.rejects(client.send({ ...request, type: 'cpcode', objects: [1] }), { constructor: PurgeRateLimited, retryAfterSeconds: 4, message: /to invalidate 1 CP code on production/ })
  await t.rejects(client.send(request), { code: 'purge_forbidden', message: /The clock of this machine is (?:99|100|101) s ahead of Akamai's/ })
  await t.rejects(client.send(request), { code: 'purge_forbidden', message: /302/ })
  await t.rejects(client.send(request), { code: 'purge_unavailable' })
  t.equal(seen.length, 5, 'a redirect is not followed')
})

const closed = createServer().listen(0, '127.0.0.1')
await once(closed, 'listening')
const { port: closedPort } = closed.address() as AddressInfo
await new Promise((resolve) => closed.close(resolve))

t.test('silence, breaks and a missing server are told apart, and nothing secret is kept', async (t) => {
  follow('silence', 'reset', 'half')
  const errors = [
    await make({ timeoutMs: 50 }).send(request).catch((error: unknown) => error),
    await client.send(request).catch((error: unknown) => error),
    await client.send(request).catch((error: unknown) => error),
    await make({ host: `http://127.0.0.1:${closedPort}` }).send(request).catch((error: unknown) => error),
    await make({ host: `http://localhost:${closedPort}` }).send(request).catch((error: unknown) => error)
  ]
  t.match(errors, [
    { code: 'purge_silent', message: /within 0.05 s to invalidate 2 URLs on production at http:\/\/127/ },
    { code: 'purge_unavailable' },
    { code: 'purge_unavailable' },
    { code: 'purge_unavailable', message: /could not be reached.*ECONNREFUSED/, cause: { code: 'ECONNREFUSED' } },
    { code: 'purge_unavailable', message: /could not be reached.*ECONNREFUSED/ }
  ])
  const shown = JSON.stringify(errors.map((error) => [String(error), error, String((error as Error).cause), Object.entries((error as Error).cause as object)]))
  for (const secret of [...Object.values(secrets).slice(0, 3), 'EG1-HMAC']) t.notOk(shown.includes(secret))
})

t.test('an abort ends a request with its reason', async (t) => {
  const reason = new Error('stopping')
  follow('silence')
  await t.rejects(client.send({ ...request, signal: AbortSignal.abort(reason) }), reason)
  t.equal(seen.length, 0)
  const controller = new AbortController()
  const sending = t.rejects(client.send({ ...request, signal: controller.signal }), reason)
  while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  controller.abort(reason)
  await sending
})

t.test('each request is counted with its status, 0 where no answer came', async (t) => {
  const counted: object[] = []
  const counting = make({ onRequest: ({ durationMs, ...rest }) => { counted.push({ ...rest, timed: durationMs > 0 }) } })
  follow(accepted(), { status: 500 }, 'reset')
  await counting.send(request)
  await t.rejects(counting.send({ ...request, action: 'delete' }))
  await t.rejects(counting.send(request))
  t.same(counted, [
    { action: 'invalidate', type: 'url', status: 201, timed: true }, { action: 'delete', type: 'url', status: 500, timed: true },
    { action: 'invalidate', type: 'url', status: 0, timed: true }
  ])
})
