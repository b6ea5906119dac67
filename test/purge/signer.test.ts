import { createRequire } from 'node:module'
import t from 'tap'
import { bodyOf, fixtures, verify, type Policy, type Received, type Vector } from './edgegrid-verifier.ts'

// The package takes randomUUID when it loads and asks Date.now when it signs: time and nonce are pinned there.
const require = createRequire(import.meta.url)
const crypto = require('node:crypto') as { randomUUID: () => string }
let nonce: string | undefined
let now: number | undefined
const { randomUUID } = crypto
t.intercept(crypto, 'randomUUID', { value: () => nonce ?? randomUUID() })
const dateNow = Date.now
t.intercept(Date, 'now', { value: () => now ?? dateNow() })
t.intercept(process, 'env', { value: { ...process.env, AKAMAI_LOG_LEVEL: 'verbose', AKAMAI_LOG_PRETTY: 'true' } })
const { createSigner, edgeGridOrigin } = await import('../../src/purge/signer.ts')

/** The time of `20260115T08:30:00+0000`, in milliseconds. */
const timeOf = (timestamp: string) => Date.parse(timestamp.replace(/^(\d{4})(\d\d)(\d\d)T(.*)\+0000$/, '$1-$2-$3T$4Z'))
const secretsOf = (vector: Vector) => vector.credentials === undefined ? fixtures.published.credentials : fixtures.credentials[vector.credentials]
const received = (vector: Vector): Received => ({ ...vector, body: bodyOf(vector), authorization: vector.expected.authorization })
const policyOf = (vector: Vector): Policy =>
  ({ secrets: secretsOf(vector), now: new Date(timeOf(vector.timestamp)), headersToSign: vector.headers_to_sign, maxBody: vector.max_body })
const credentialsOf = (vector: Vector, host = `${vector.scheme}://${vector.host}`) => {
  const secrets = secretsOf(vector)
  return { host, clientToken: secrets.client_token, clientSecret: secrets.client_secret, accessToken: secrets.access_token }
}
const pin = (vector: Vector) => {
  nonce = vector.nonce
  now = timeOf(vector.timestamp)
}
const base = fixtures.vectors.find((vector) => vector.id === 'V06') as Vector

t.test('the verifier of these tests takes every vector, and no altered one', async (t) => {
  for (const vector of [...fixtures.vectors, ...fixtures.published.vectors]) {
    t.same(verify(received(vector), policyOf(vector)), { status: 201 }, `${vector.id} ${vector.name}`)
    t.same(verify({ ...received(vector), target: `${vector.target}x` }, policyOf(vector)), { status: 401, detail: 'The signature does not match' }, `${vector.id} altered`)
  }
})

t.test('the verifier answers each negative case', async (t) => {
  const good = received(base)
  const policy = policyOf(base)
  const at = (seconds: number): Policy => ({ ...policy, now: new Date(policy.now.getTime() + seconds * 1000) })
  const stamped = (timestamp: string) => ({ ...good, authorization: good.authorization.replace(base.timestamp, timestamp) })
  const replay = { ...policy, seen: new Set([base.nonce]) }
  const cases: Record<string, Array<[Received, Policy]>> = {
    N01: [[{ ...good, body: good.body + ' ' }, policy]],
    N02: [[good, { ...policy, secrets: { ...policy.secrets, client_secret: 'other' } }]],
    N03: [[{ ...good, target: good.target.replace('production', 'staging') }, policy]],
    N04: [[{ ...good, target: `${good.target}?a=b` }, policy]],
    N05: [[good, at(31)], [good, at(-31)]],
    N06: [[good, at(30)], [good, at(-30)]],
    N07: [[stamped('2026-01-15T08:30:00Z'), policy]],
    N08: [[good, { ...policy, secrets: { ...policy.secrets, client_token: 'other' } }]],
    N09: [[good, { ...policy, disabled: true }]],
    N10: [[good, replay]],
    N11: [[{ ...good, authorization: '' }, policy], [{ ...good, authorization: 'Bearer x' }, policy]],
    N12: [[good, { ...policy, granted: false }]],
    N13: [[stamped('20260115T09:30:00+0100'), policy]]
  }
  for (const { id, change, http, detail } of fixtures.negative) {
    t.ok(cases[id], `${id} has a case`)
    for (const [request, under] of cases[id] ?? []) {
      const answer = verify(request, under)
      t.equal(answer.status, http, `${id} ${change}`)
      if (detail !== null && detail !== 'unknown text') t.equal(answer.detail, detail)
    }
  }
})

t.test('what our client can send is signed as the vectors say', async (t) => {
  const ours = fixtures.vectors.filter((vector) => vector.method === 'POST' && vector.headers_to_sign.length === 0)
  t.ok(ours.length >= 19, `${ours.length} vectors`)
  for (const vector of ours) {
    pin(vector)
    const { url, method, headers, body } = createSigner(credentialsOf(vector))(vector.target, bodyOf(vector))
    t.equal(headers.authorization, vector.expected.authorization, `${vector.id} ${vector.name}`)
    t.same([url, method, body], [`${vector.scheme}://${vector.host}${vector.target}`, 'POST', bodyOf(vector)], 'what is signed is what is sent')
  }
})

t.test('the package signs the other vectors too', async (t) => {
  const EdgeGrid = require('akamai-edgegrid') as new (...parts: string[]) => {
    config: { host: string }
    auth (request: object): { request: { headers: { Authorization: string } } }
  }
  for (const vector of fixtures.vectors) {
    pin(vector)
    const { client_token: clientToken, client_secret: clientSecret, access_token: accessToken } = secretsOf(vector)
    const edgeGrid = new EdgeGrid(clientToken, clientSecret, accessToken, vector.host)
    edgeGrid.config.host = `${vector.scheme}://${vector.host}`
    const headersToSign = Object.fromEntries(vector.headers_to_sign.flatMap((name) => vector.headers[name] === undefined ? [] : [[name, vector.headers[name]]]))
    const { request } = edgeGrid.auth({ path: vector.target, method: vector.method, headers: { ...vector.headers }, headersToSign, body: bodyOf(vector) })
    t.equal(request.headers.Authorization, vector.expected.authorization, `${vector.id} ${vector.name}`)
  }
})

t.test('a host may be bare, or an origin with a slash, and is signed in lower case', async (t) => {
  pin(base)
  for (const host of [base.host, `https://${base.host}/`, base.host.toUpperCase(), `${base.host}:443`]) {
    t.equal(createSigner(credentialsOf(base, host))(base.target, bodyOf(base)).headers.authorization, base.expected.authorization, host)
  }
  t.equal(edgeGridOrigin('http://127.0.0.1:8089/'), 'http://127.0.0.1:8089')
})

t.test('each call signs anew, and nothing of it is logged, whatever AKAMAI_LOG_* says', async (t) => {
  nonce = undefined
  now = undefined
  const written = t.capture(process.stdout, 'write')
  const sign = createSigner(credentialsOf(base))
  const [first, second] = [sign('/a', '{}'), sign('/a', '{}')]
  const output = written()
  written.restore()
  t.not(first.headers.authorization, second.headers.authorization)
  t.same(output.filter(({ args }) => /EG1-HMAC|signing/i.test(String(args[0]))), [])
  t.equal(process.env.AKAMAI_LOG_LEVEL, 'verbose', 'the environment is as it was')
})

t.test('a request without a body signs none', async (t) => {
  const { body, headers } = createSigner(credentialsOf(base))('/ccu/v3/rate-limit-status/url')
  t.equal(body, undefined)
  const request = { method: 'POST', scheme: 'https', host: base.host, target: '/ccu/v3/rate-limit-status/url', headers: {}, body: '', authorization: headers.authorization ?? '' }
  t.same(verify(request, { ...policyOf(base), now: new Date() }), { status: 201 })
})
