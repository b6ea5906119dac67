import t from 'tap'
import { describe, refusal, retryAfter, type Attempt } from '../../src/netstorage/refusal.ts'

const attempt = (action: Attempt['action']): Attempt => ({ action, host: 'example-nsu.akamaihd.net', keyName: 'svc-upload', cpCode: 123456, wirePath: '/123456/a%20b' })

t.test('each status means one thing, for each action', async t => {
  const cases: Array<[Attempt['action'], number[], string, RegExp]> = [
    ['upload', [200, 204], 'netstorage_unavailable', /nothing counts as done/],
    ['stat', [204, 206], 'netstorage_unavailable', /no answer to it/],
    ['stat', [300, 301, 302, 304, 307, 308], 'netstorage_refused', /redirects are not followed/],
    ['upload', [400, 405, 411, 413, 416], 'netstorage_refused', /cannot take this request/],
    ['upload', [401, 403], 'netstorage_forbidden', /key name svc-upload .* CP code 123456, .* clock is right/],
    ['upload', [404], 'netstorage_refused', /check that CP code 123456 is an upload directory/],
    ['upload', [409, 412, 422], 'netstorage_digest_refused', /another size or digest .* not stored/],
    ['delete', [409, 412, 422], 'netstorage_refused', /cannot take this request/],
    ['dir', [412], 'netstorage_refused', /a file, not a directory/],
    ['list', [412], 'netstorage_refused', /cannot take this request/],
    ['list', [408, 423, 429, 500, 502, 503, 504, 509], 'netstorage_unavailable', /may work later/]
  ]
  for (const [action, statuses, code, message] of cases) {
    for (const status of statuses) {
      const error = refusal(attempt(action), status)
      t.match(error, { code, message, retryAfterSeconds: undefined }, `${status} to ${action}`)
      t.ok(error.message.startsWith(`NetStorage answered ${status} to ${action} of /123456/a%20b at example-nsu.akamaihd.net`), 'what was tried, on what, and what came back')
    }
  }
})

t.test('what may pass is tried again, what cannot is not, and credentials pause', async t => {
  const flags = (action: Attempt['action'], status: number) => {
    const { retryable, credentials } = refusal(attempt(action), status)
    return { retryable, credentials }
  }
  t.same(flags('stat', 403), { retryable: false, credentials: true })
  t.same(flags('upload', 422), { retryable: true, credentials: false })
  t.same(flags('delete', 503), { retryable: true, credentials: false })
  t.same(flags('upload', 200), { retryable: true, credentials: false })
  t.same(flags('dir', 412), { retryable: false, credentials: false })
  t.same(flags('stat', 302), { retryable: false, credentials: false })
})

t.test('a wait that NetStorage names is kept where trying again helps', async t => {
  t.equal(refusal(attempt('stat'), 429, 7).retryAfterSeconds, 7)
  t.equal(refusal(attempt('stat'), 503, 0).retryAfterSeconds, 0)
  t.equal(refusal(attempt('stat'), 403, 7).retryAfterSeconds, undefined)
})

t.test('Retry-After is seconds or a date, never in the past and never for ever', async t => {
  const now = Date.parse('2026-01-02T12:00:00.500Z')
  const cases: Array<[string | undefined, number | undefined]> = [
    [undefined, undefined], ['0', 0], ['120', 120], ['Fri, 02 Jan 2026 12:00:10 GMT', 10], ['Fri, 02 Jan 2026 11:00:00 GMT', 0],
    ['', undefined], ['soon', undefined], ['soon GMT', undefined], ['-5', undefined], ['1.5', undefined], ['7 ', undefined], ['99999999999999999999', 86_400], ['Fri, 02 Jan 2099 12:00:10 GMT', 86_400]
  ]
  for (const [header, seconds] of cases) t.equal(retryAfter(header, now), seconds, header ?? 'none')
})

t.test('an attempt in words names action, path and host', async t => {
  t.equal(describe(attempt('stat')), 'stat of /123456/a%20b at example-nsu.akamaihd.net')
})
