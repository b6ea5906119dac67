import t from 'tap'
import { findOffender, PurgeRateLimited, PurgeRefused, toPurgeError, type Refusal } from '../../src/purge/failures.ts'

const gateway = (status: number, ending: string, title: string, detail: string) => JSON.stringify({
  type: `https://problems.purge.akamaiapis.net/-/${ending}`, title, status, detail, instance: 'https://h/ccu?accountSwitchKey=SECRET-KEY', method: 'POST', requestId: '1f2e'
})
const service = (httpStatus: number, title: string, detail?: string, more: object = {}) => JSON.stringify({
  httpStatus, title, detail, supportId: 'edup-1', describedBy: 'https://techdocs.akamai.com/purge-cache/reference/api-errors', ...more
})
const objects = ['https://www.example.com/a', 'https://www.example.com/ab', 12345]
const answer = (status: number, text: string, headers: Record<string, string> = {}): Refusal => ({
  status, text, headers: new Headers({ 'content-type': 'text/html', ...headers }), attempt: 'invalidate 3 URLs on production', objects, now: new Date('2026-01-15T08:30:31Z')
})

t.test('each answer that is no acceptance becomes the failure it stands for', async (t) => {
  const table: Array<[Refusal, string, RegExp]> = [
    [answer(400, gateway(400, 'pep-authn/request-error', 'Bad request', 'Invalid timestamp'), { date: 'Thu, 15 Jan 2026 08:30:00 GMT' }), 'purge_forbidden', /Invalid timestamp.*31 s ahead of Akamai's/],
    [answer(400, gateway(400, 'pep-authn/request-error', 'Bad request', 'Invalid timestamp'), { date: 'Thu, 15 Jan 2026 08:31:31 GMT' }), 'purge_forbidden', /60 s behind Akamai's/],
    [answer(400, gateway(400, 'pep-authn/request-error', 'Bad request', 'Invalid timestamp')), 'purge_forbidden', /clock of this machine is more than 30 s off/],
    [answer(400, gateway(400, 'pep-authn/request-error', 'Bad request', 'Invalid client token')), 'purge_forbidden', /Invalid client token; requestId 1f2e.*Check the client token/],
    [answer(401, gateway(401, 'pep-authn/deny', 'Not authorized', 'The signature does not match')), 'purge_forbidden', /signature does not match.*client secret/],
    [answer(401, gateway(401, 'pep-authn/deny', 'Not authorized', 'Inactive client token')), 'purge_forbidden', /Inactive client token.*active/],
    [answer(401, service(401, 'Unauthorized')), 'purge_forbidden', /Unauthorized/],
    [answer(403, gateway(403, 'pep-authz/deny', 'Forbidden', 'The client does not have the grant needed for the request')), 'purge_forbidden', /CCU APIs" READ-WRITE/],
    [answer(403, '<html>denied</html>'), 'purge_forbidden', /403 \(no reason given, content type text\/html\)/],
    [answer(400, service(400, 'Bad request', 'invalid endpoint')), 'purge_forbidden', /invalid endpoint.*enabled for purge/],
    [answer(400, gateway(400, 'x', 'Bad request', 'invalid endpoint')), 'purge_forbidden', /invalid endpoint.*enabled for purge/],
    [answer(404, service(404, 'not found')), 'purge_forbidden', /404 \(not found; supportId edup-1\)/],
    [answer(404, '{"detail":"No such page"}'), 'purge_forbidden', /404 \(No such page\)/],
    [answer(405, service(405, 'method not allowed')), 'purge_forbidden', /405/],
    [answer(410, ''), 'purge_forbidden', /410/],
    [answer(411, ''), 'purge_forbidden', /411/],
    [answer(415, ''), 'purge_forbidden', /415/],
    [answer(302, ''), 'purge_forbidden', /302/],
    [answer(400, service(400, 'invalid attribute value', "'objects' attribute cannot be missing or empty")), 'purge_refused', /cannot be missing/],
    [answer(413, ''), 'purge_refused', /fewer objects/],
    [answer(400, '<html>busy</html>'), 'purge_unavailable', /400/],
    [answer(400, '[]'), 'purge_unavailable', /400/],
    [answer(408, ''), 'purge_unavailable', /408/],
    [answer(500, service(500, 'internal error', 'Contact support')), 'purge_unavailable', /internal error: Contact support/],
    [answer(503, '<html>'), 'purge_unavailable', /503/],
    [answer(504, service(504, 'gateway timeout')), 'purge_unavailable', /504/],
    [answer(507, service(507, 'queue is full')), 'purge_unavailable', /507/],
    [answer(200, '{}'), 'purge_unavailable', /200/],
    [answer(201, '{"httpStatus":500}'), 'purge_unavailable', /201/]
  ]
  for (const [refusal, code, message] of table) {
    const error = toPurgeError(refusal)
    t.match(error, { code, message }, `${refusal.status} ${refusal.text.slice(0, 60)}`)
    t.match(error.message, /^Fast Purge answered \d{3} .* to invalidate 3 URLs on production\. /)
    t.notMatch(error.message, /SECRET/)
    t.equal(error.credentials, code === 'purge_forbidden')
    t.equal(error.retryable, code === 'purge_unavailable')
  }
})

t.test('a refused object is named where the answer names it', async (t) => {
  const table: Array<[number, string, string, string | number | undefined]> = [
    [403, 'unauthorized arl', 'https://www.example.com/a', 'https://www.example.com/a'],
    [403, 'unauthorized cpcode', '12345', 12345],
    [400, 'bad cpcode', '12345', 12345],
    [400, 'bad URL', "Invalid or malformed URL 'https://www.example.com/ab': contains non-ASCII character 'é' (LATIN SMALL LETTER E WITH ACUTE)", 'https://www.example.com/ab'],
    [400, 'bad URL hostname', 'Invalid or malformed hostname', undefined],
    [400, 'bad URL', '', undefined]
  ]
  for (const [status, title, detail, offender] of table) {
    const error = toPurgeError(answer(status, service(status, title, detail)))
    t.ok(error instanceof PurgeRefused, title)
    t.match(error, { code: 'purge_refused', retryable: false, offender, reason: title })
  }
})

t.test('an object is not blamed for another that contains it', async (t) => {
  const table: Array<[string, Array<string | number>, string | number | undefined]> = [
    ['https://e.com/ab', ['https://e.com/a'], undefined],
    ['https://e.com/ab', ['https://e.com/a', 'https://e.com/ab'], 'https://e.com/ab'],
    ["URL 'https://e.com/a' is bad", ['https://e.com/ab', 'https://e.com/a'], 'https://e.com/a'],
    ['https://e.com/a, is bad.', ['https://e.com/a'], 'https://e.com/a'],
    ['https://e.com/a.', ['https://e.com/a'], 'https://e.com/a'],
    ["'https://e.com/a'b'", ['https://e.com/a', "https://e.com/a'b"], "https://e.com/a'b"],
    ['code 112345', [12345], undefined],
    ['code 12345: unknown', [12345], 12345],
    ['xtag and tag', ['tag'], 'tag'],
    ['', [''], '']
  ]
  for (const [detail, among, offender] of table) t.equal(findOffender(detail, among), offender, detail)
})

t.test('a 429 says how long to wait and what is left', async (t) => {
  const headers = {
    'x-ratelimit-limit': '100',
    'x-ratelimit-limit-per-second': '50.00',
    'x-ratelimit-remaining': '96',
    'x-ratelimit-limit-objects': '10000',
    'x-ratelimit-limit-per-second-objects': '0.5',
    'x-ratelimit-remaining-objects': '94'
  }
  const short = { rateLimit: 10000, rateLimitCurrentRequestSize: 110, rateLimitRemaining: 94 }
  const table: Array<[string, object, Record<string, string>, number]> = [
    ['URL Rate Limit exceeded', short, headers, 32],
    ['URL Rate Limit exceeded', { rateLimitCurrentRequestSize: 110 }, headers, 32],
    ['Rate Limit exceeded', { rateLimitCurrentRequestSize: 1, rateLimitRemaining: 0 }, headers, 0.02],
    ['URL Rate Limit exceeded', short, {}, 5],
    ['URL Rate Limit exceeded', {}, headers, 5],
    ['URL Rate Limit exceeded', short, { ...headers, 'x-ratelimit-limit-per-second-objects': '0' }, 5],
    ['URL Rate Limit exceeded', short, { ...headers, 'x-ratelimit-limit-per-second-objects': 'many' }, 5],
    ['URL Rate Limit exceeded', { rateLimitCurrentRequestSize: 1 }, { 'x-ratelimit-limit-per-second-objects': '1' }, 5],
    ['URL Rate Limit exceeded', short, { ...headers, 'retry-after': '7' }, 7],
    ['URL Rate Limit exceeded', short, { 'retry-after': '0' }, 0],
    ['URL Rate Limit exceeded', { rateLimitCurrentRequestSize: 1 }, headers, 0]
  ]
  for (const [title, more, sent, seconds] of table) {
    const error = toPurgeError(answer(429, service(429, title, '', more), sent))
    t.ok(error instanceof PurgeRateLimited)
    t.match(error, { code: 'purge_rate_limited', retryable: true, retryAfterSeconds: seconds }, `${title} ${JSON.stringify(more)}`)
  }
  t.same((toPurgeError(answer(429, service(429, 'URL Rate Limit exceeded', '', short), headers)) as PurgeRateLimited).shortage, { bucket: 'objects', limit: 10000, needed: 110, remaining: 94 })
  t.same((toPurgeError(answer(429, service(429, 'Rate Limit exceeded'), headers)) as PurgeRateLimited).shortage, { bucket: 'requests', limit: undefined, needed: undefined, remaining: 96 })
  const { rateLimit } = toPurgeError(answer(429, '<html>', headers)) as PurgeRateLimited
  t.same(rateLimit, {
    requests: { limit: 100, perSecond: 50, remaining: 96, secondsToFull: undefined },
    objects: { limit: 10000, perSecond: 0.5, remaining: 94, secondsToFull: undefined }
  })
  t.equal((toPurgeError(answer(429, '<html>')) as PurgeRateLimited).rateLimit, undefined)
})

t.test('an answer that echoes the signature does not carry it into the message', async (t) => {
  const echo = 'got EG1-HMAC-SHA256 client_token=akab-ct;access_token=akab-at;timestamp=x;nonce=y;signature=SIG='
  const error = toPurgeError(answer(401, gateway(401, 'pep-authn/deny', 'Not authorized', echo)))
  t.notMatch(error.message, /akab|SIG/)
  t.match(error.message, /got \[redacted\]/)
})
