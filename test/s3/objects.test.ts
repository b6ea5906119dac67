import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startFauxqs } from 'fauxqs'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createS3Client } from '../../src/s3/client.ts'
import { createS3Objects, type S3ObjectsOptions } from '../../src/s3/objects.ts'
import { startScriptedS3, type Act } from './scripted-s3.ts'

const credentials = { accessKeyId: 'test', secretAccessKey: 'test' }
const fauxqs = await startFauxqs({ port: 0, logger: false })
const door = await startScriptedS3(`http://127.0.0.1:${fauxqs.port}`)
const client = createS3Client({ region: 'us-east-1', endpoint: door.endpoint, credentials })
const requests: Array<{ action: string, status: number }> = []
const objects = createS3Objects({ client, stallTimeoutMs: 10_000, onRequest: ({ action, status }) => requests.push({ action, status }) })
const impatient = createS3Objects({ client, stallTimeoutMs: 100 })
t.teardown(async () => {
  client.destroy()
  await door.close()
  await fauxqs.stop()
})
await client.send(new CreateBucketCommand({ Bucket: 'assets' }))

/** The SDK finds no length in an empty string, and warns of it; in bytes it does. */
const put = async (key: string, body: Buffer | string, more: object = {}) => { await client.send(new PutObjectCommand({ Bucket: 'assets', Key: key, Body: typeof body === 'string' ? Buffer.from(body) : body, ...more })) }
const md5 = (bytes: Buffer | string) => createHash('md5').update(bytes).digest('hex')
const large = Buffer.alloc(3_000_000, Array.from({ length: 251 }, (_, index) => index).map((code) => String.fromCharCode(code)).join(''), 'latin1')
await put('large', large)
/** Sets the script for what follows; the log of the door begins anew. */
const follow = (...acts: Act[]) => {
  door.script.splice(0, Infinity, ...acts)
  door.seen.length = 0
}
const ref = (key: string, more: object = {}) => ({ bucket: 'assets', key, ...more })
const s3Headers = { etag: `"${md5('x')}"`, 'last-modified': 'Thu, 15 Jan 2026 08:30:00 GMT', 'content-length': '1' }
const fault = (code: string) => `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>No.</Message></Error>`

t.test('one GET gives what is known of an object and its bytes', async (t) => {
  await put('a.css', 'body {}', { ContentEncoding: 'gzip' })
  follow()
  const { body, lastModified, ...info } = await objects.open(ref('a.css'))
  t.equal((await buffer(body)).toString(), 'body {}')
  t.same(info, { etag: md5('body {}'), md5: md5('body {}'), sizeBytes: 7, contentEncoding: 'gzip', storageClass: 'STANDARD' })
  t.ok(Math.abs(lastModified.getTime() - Date.now()) < 60_000)
  t.same(door.seen.map(({ method }) => method), ['GET'])
  t.notOk('md5' in await objects.head(ref('a.css', { etagIsMd5: 'never' })), 'the rule may forbid to take the ETag for an MD5')
})

t.test('it says who asks, and leaves out what the SDK does for others', async (t) => {
  await put('named', 'x')
  follow()
  const { body } = await objects.open(ref('named'))
  await buffer(body)
  t.match(door.seen[0]?.userAgent, /^edgeferry\/\d+\.\d+\.\d+$/)
  // Where an update of the SDK gives one of them another name, it would cost its time again.
  const stack = (each: S3Client) => each.middlewareStack.identify().map(name => name.split(' ')[0] ?? '')
  const usual = new S3Client({})
  const [ours, all] = [new Set(stack(client)), stack(usual)]
  usual.destroy()
  t.same(all.filter(name => !ours.has(name)).sort(), ['addExpectContinueMiddleware', 'contentLengthMiddleware', 'loggerMiddleware', 'recursionDetectionMiddleware', 'regionRedirectMiddleware'])
})

t.test('a HEAD shows the same without the bytes', async (t) => {
  follow()
  const { body, ...info } = await objects.open(ref('large'))
  body.destroy()
  t.same(await objects.head(ref('large')), info)
  t.same(door.seen.map(({ method }) => method), ['GET', 'HEAD'])
})

t.test('an empty object has an empty body', async (t) => {
  await put('empty', '')
  const { sizeBytes, body } = await objects.open(ref('empty'))
  t.equal(sizeBytes, 0)
  t.equal((await buffer(body)).length, 0)
})

t.test('keys are literal, whatever they hold', async (t) => {
  for (const key of ['a b+c%20d', 'é/日本/😀', "!$&'()*,:;=@~", '#?[]{}|\\^`"<>', 'a/b=c/', '%', '%2F', 'a..b', 'x'.repeat(1000)]) {
    await put(key, key)
    t.equal((await buffer((await objects.open(ref(key))).body)).toString(), key, key.slice(0, 30))
  }
})

t.test('a version is asked for where one is named, and one of the answer is shown', async (t) => {
  follow({ status: 200, headers: { ...s3Headers, 'x-amz-version-id': 'v 1' }, body: 'x' }, { status: 200, headers: { ...s3Headers, 'x-amz-version-id': 'v 1' } })
  const { body, versionId } = await objects.open(ref('a', { versionId: 'v 1' }))
  t.equal((await buffer(body)).toString(), 'x')
  t.equal(versionId, 'v 1')
  t.equal((await objects.head(ref('a', { versionId: 'v 1' }))).versionId, 'v 1')
  t.match(door.seen, [{ method: 'GET', target: /versionId=v%201/ }, { method: 'HEAD', target: /versionId=v%201/ }])
})

t.test('a body that is reset or falls silent midway goes on at the right byte', async (t) => {
  follow({ after: 1_000_000, then: 'reset' }, { after: 500_000, then: 'silence' }, 'reset', 'silence')
  const { body, etag } = await impatient.open(ref('large'))
  const read = await buffer(body)
  t.ok(read.equals(large), 'every byte once, in order')
  t.equal(door.seen.length, 5)
  t.notOk(door.seen[0]?.range)
  for (const { range, ifMatch } of door.seen.slice(1)) {
    t.match(range, /^bytes=[1-9]\d*-$/)
    t.equal(ifMatch, `"${etag}"`)
  }
})

t.test('an object that changes, vanishes or shrinks while it is read is never mixed with another', async (t) => {
  const table: Array<[string, Act | undefined, RegExp, (() => Promise<void>)?]> = [
    ['replaced', undefined, /412/, () => put('changing', Buffer.alloc(3_000_000, 'b'))],
    ['replaced, and the condition ignored', { without: ['if-match'] }, /answered 206 .*ETag/, () => put('changing', Buffer.alloc(3_000_000, 'b'))],
    ['the range ignored', { without: ['range'] }, /answered 200 \(no range/],
    ['another size', { status: 206, headers: { ...s3Headers, 'content-range': 'bytes 9-9/10' }, body: 'x' }, /bytes 9-9\/10/],
    ['gone', { status: 404, body: fault('NoSuchKey') }, /that it is gone/],
    ['shorter', { status: 416, body: fault('InvalidRange') }, /416/]
  ]
  for (const [name, act, message, meanwhile] of table) {
    await put('changing', large)
    const ready = Promise.withResolvers<void>()
    follow({ after: 1_000_000, then: 'reset', when: ready.promise })
    const { body } = await objects.open(ref('changing'))
    await once(body, 'readable')
    await meanwhile?.()
    follow(...(act === undefined ? [] : [act]))
    ready.resolve()
    await t.rejects(buffer(body), { code: 'object_changed', retryable: true, message }, name)
  }
})

t.test('what refuses a resume for another reason is told as it is', async (t) => {
  follow({ after: 1_000_000, then: 'reset' }, { status: 400, body: fault('ExpiredToken') })
  await t.rejects(buffer((await objects.open(ref('large'))).body), { code: 's3_forbidden' })
})

t.test('what is missing is told apart by a GET, also where a HEAD asked', async (t) => {
  for (const read of [objects.open, objects.head]) {
    follow()
    await t.rejects(read(ref('none')), { code: 'object_not_found' })
    await t.rejects(read({ bucket: 'none', key: 'a' }), { code: 'bucket_not_found' })
  }
  follow({ status: 403 })
  t.equal((await objects.head(ref('large'))).sizeBytes, large.length, 'and a GET that works gives the answer')
  follow({ status: 503 })
  await t.rejects(objects.head(ref('large')), { code: 's3_unavailable' })
  t.equal(door.seen.length, 1, 'where nobody refused, nothing more is asked')
})

t.test('refusals of S3 keep their meaning over the wire, and no credentials', async (t) => {
  const table: Array<[number, string, string, Record<string, string>?]> = [
    [403, 'AccessDenied', 's3_access_denied'], [400, 'ExpiredToken', 's3_forbidden'], [403, 'SignatureDoesNotMatch', 's3_forbidden'],
    [403, 'InvalidAccessKeyId', 's3_forbidden'], [403, 'InvalidObjectState', 'object_archived'], [404, 'NoSuchVersion', 'object_not_found'],
    [405, 'MethodNotAllowed', 'object_not_found', { 'x-amz-delete-marker': 'true' }], [503, 'SlowDown', 's3_unavailable'], [500, 'InternalError', 's3_unavailable'],
    [301, 'PermanentRedirect', 's3_refused', { 'x-amz-bucket-region': 'eu-west-1' }], [400, 'InvalidArgument', 's3_refused']
  ]
  for (const [status, code, expected, headers] of table) {
    follow({ status, headers: { 'content-type': 'application/xml', ...headers }, body: fault(code) })
    const error = await objects.open(ref('a')).catch((error: unknown) => error)
    t.match(error, { code: expected, message: new RegExp(`${status} ${code} to GetObject of s3://assets/a`), cause: { name: code } })
    t.notMatch(JSON.stringify([error, (error as Error).cause]), /AWS4-HMAC|accessKeyId/)
    if (status === 301) t.match(error, { message: /in eu-west-1: set AWS_REGION/ })
  }
})

t.test('a refusal that breaks off is none', async (t) => {
  for (const status of [404, 403, 400]) {
    follow({ status, headers: { 'content-type': 'application/xml', 'content-length': '1000' }, body: '<Error><Code>NoSuchKey</Code>', then: 'reset' })
    await t.rejects(objects.open(ref('a')), { code: 's3_unavailable', retryable: true, message: `The connection to S3 broke within its answer (${status}) to GetObject of s3://assets/a.` })
  }
})

t.test('an answer that no S3 would give is refused', async (t) => {
  follow({ status: 200, body: '<html>' }, { status: 200 }, { status: 200, body: '<html>' })
  await t.rejects(objects.open(ref('a')), { code: 's3_refused', message: /GetObject of s3:\/\/assets\/a lacks ETag/ })
  await t.rejects(objects.head(ref('a')), { code: 's3_refused', message: /lacks ETag/ })
})

t.test('no answer is silence, no connection is unavailability', async (t) => {
  follow('silence', 'reset')
  await t.rejects(impatient.open(ref('a')), { code: 's3_silent', message: /GetObject of s3:\/\/assets\/a within 0.1 s/ })
  await t.rejects(objects.open(ref('a')), { code: 's3_unavailable', cause: { code: 'ECONNRESET' } })
  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as AddressInfo
  await new Promise((resolve) => closed.close(resolve))
  const nobody = createS3Client({ region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, credentials })
  await t.rejects(createS3Objects({ client: nobody, stallTimeoutMs: 5000 }).open(ref('a')), { code: 's3_unavailable', cause: { code: 'ECONNREFUSED' } })
})

t.test('credentials that cannot be had, or not in time, are told without a request', async (t) => {
  const make = (provide: () => Promise<never>, options: Partial<S3ObjectsOptions> = {}) =>
    createS3Objects({ client: createS3Client({ region: 'us-east-1', endpoint: door.endpoint, credentials: provide }), stallTimeoutMs: 5000, ...options })
  follow()
  await t.rejects(make(async () => { throw Object.assign(new Error('none found'), { name: 'CredentialsProviderError' }) }).open(ref('a')), { code: 's3_forbidden', message: /none found/ })
  await t.rejects(make(() => new Promise(() => {}), { stallTimeoutMs: 50 }).open(ref('a')), { code: 's3_silent' })
  t.same(door.seen, [])
})

t.test('what is not given is left to the chain of the SDK, and a region that nobody gives is asked for', async (t) => {
  const { AWS_REGION: region, AWS_DEFAULT_REGION: defaultRegion, ...rest } = process.env
  t.intercept(process, 'env', { value: { ...rest, AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' } })
  await t.rejects(createS3Objects({ client: createS3Client({}), stallTimeoutMs: 5000 }).open(ref('a')), { code: 's3_refused', message: 'No region for GetObject of s3://assets/a: set AWS_REGION.' })
})

t.test('an abort ends a request with its reason, before, during and after its answer', async (t) => {
  const reason = new Error('cancelled')
  await t.rejects(objects.open(ref('large', { signal: AbortSignal.abort(reason) })), reason)

  follow('silence')
  const waiting = new AbortController()
  const open = t.rejects(objects.open(ref('large', { signal: waiting.signal })), reason)
  while (door.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  waiting.abort(reason)
  await open

  const reading = new AbortController()
  const { body } = await objects.open(ref('large', { signal: reading.signal }))
  const failed = t.rejects(buffer(body), reason)
  reading.abort(reason)
  await failed
})

t.test('closing the body closes the connection; reading to the end keeps it for the next', async (t) => {
  const own = await startScriptedS3(`http://127.0.0.1:${fauxqs.port}`)
  t.teardown(own.close)
  const fresh = createS3Objects({ client: createS3Client({ region: 'us-east-1', endpoint: own.endpoint, credentials }), stallTimeoutMs: 10_000 })
  for (let round = 0; round < 3; round++) await buffer((await fresh.open(ref('large'))).body)
  t.equal(await own.connections(), 1, 'one connection served all three')
  own.script.push({ after: 1000, then: 'silence' })
  const { body } = await fresh.open(ref('large'))
  body.destroy()
  while (await own.connections() > 0) await new Promise((resolve) => setImmediate(resolve))
  t.pass('and it is gone once a body is closed half-read')
})

t.test('the probe asks for the bucket alone', async (t) => {
  follow()
  await objects.probeBucket('assets')
  t.match(door.seen, [{ method: 'HEAD', target: /^\/assets\/?(?:\?|$)/ }])
  await t.rejects(objects.probeBucket('none'), { code: 'bucket_not_found' })
  follow({ status: 403 }, { status: 400 }, { status: 400, headers: { 'x-amz-bucket-region': 'eu-west-1' } })
  await t.rejects(objects.probeBucket('assets'), { code: 's3_access_denied' })
  await t.rejects(objects.probeBucket('assets'), { code: 's3_forbidden' })
  await t.rejects(objects.probeBucket('assets'), { code: 's3_refused', message: /in eu-west-1/ })
})

t.test('each request is counted with its status, 0 where no answer came', async (t) => {
  requests.length = 0
  follow('pass', { status: 503 }, 'reset', 'pass')
  await buffer((await objects.open(ref('a.css'))).body)
  await t.rejects(objects.open(ref('a.css')))
  await t.rejects(objects.open(ref('a.css')))
  await objects.probeBucket('assets')
  t.same(requests, [{ action: 'GetObject', status: 200 }, { action: 'GetObject', status: 503 }, { action: 'GetObject', status: 0 }, { action: 'HeadBucket', status: 200 }])
})
