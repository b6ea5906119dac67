import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { confirmSubscription, confirmUrl, type ConfirmAttempt } from '../../src/sns/confirm.ts'
import type { SubscriptionConfirmation } from '../../src/sns/verify.ts'
import { createVectorVerifier, vector } from './vectors.ts'

const subscriptionArn = 'arn:aws:sns:us-east-1:111122223333:media-sync:621ae8ff-84f9-5e0e-acf0-f6cdab65fdca'
const confirmed = `<ConfirmSubscriptionResponse><ConfirmSubscriptionResult><SubscriptionArn>${subscriptionArn}</SubscriptionArn></ConfirmSubscriptionResult></ConfirmSubscriptionResponse>`
const message = await createVectorVerifier().receive(vector('ok-sub-v2')) as SubscriptionConfirmation
const topicArn = message.topic.arn

/** An SNS that answers what it is told, one after another, the last for ever. */
async function serve (t: Test, ...answers: RequestListener[]) {
  const urls: string[] = []
  const server = createServer((request, response) => {
    urls.push(request.url ?? '')
    answers[Math.min(urls.length, answers.length) - 1]?.(request, response)
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const attempts: ConfirmAttempt[] = []
  const options = { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, delaysMs: [1, 1], onAttempt: (attempt: ConfirmAttempt) => { attempts.push(attempt) } }
  return { urls, attempts, options }
}

const answer = (status: number, text = ''): RequestListener => (_, response) => response.writeHead(status).end(text)

t.test('the URL is made of what was verified', async (t) => {
  t.equal(confirmUrl(message), `https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${encodeURIComponent(topicArn)}&Token=${message.token}`)
  t.match(confirmUrl(message, 'http://127.0.0.1:4100'), /^http:\/\/127\.0\.0\.1:4100\/\?Action=ConfirmSubscription&TopicArn=arn%3Aaws%3Asns/)
  const china = { ...message, topic: { arn: 'arn:aws-cn:sns:cn-north-1:444455556666:media-sync', partition: 'aws-cn', region: 'cn-north-1' } } as const
  t.match(confirmUrl(china), /^https:\/\/sns\.cn-north-1\.amazonaws\.com\.cn\/\?/)
})

t.test('one answer of 200 confirms', async (t) => {
  const { urls, attempts, options } = await serve(t, answer(200, confirmed))
  t.equal(await confirmSubscription(message, options), true)
  t.strictSame(attempts, [{ topicArn, attempt: 1, confirmed: true, status: 200, subscriptionArn, again: false }])
  t.strictSame(urls, [confirmUrl(message, '')])
})

t.test('what may pass is tried again', async (t) => {
  const { attempts, options } = await serve(t, answer(503), (request) => request.socket.destroy(), answer(200))
  t.equal(await confirmSubscription(message, options), true)
  t.strictSame(attempts.map(({ status, again }) => [status, again]), [[503, true], [0, true], [200, false]])
  t.match(attempts[1]?.detail, /^[A-Z_]+$/)
})

t.test('after the last attempt it is given up', async (t) => {
  const { urls, attempts, options } = await serve(t, answer(429))
  t.equal(await confirmSubscription(message, options), false)
  t.equal(urls.length, 3)
  t.strictSame(attempts.map(({ again }) => again), [true, true, false])
})

t.test('a token that SNS refuses is not tried again', async (t) => {
  for (const status of [400, 403, 404]) {
    const { urls, options } = await serve(t, answer(status))
    t.equal(await confirmSubscription(message, options), false)
    t.equal(urls.length, 1, `${status}`)
  }
})

t.test('only 200 confirms, and no redirect is followed', async (t) => {
  const { urls, attempts, options } = await serve(t, answer(204), (_, response) => response.writeHead(302, { location: '/trap' }).end(), answer(408))
  t.equal(await confirmSubscription(message, options), false)
  t.notOk(urls.includes('/trap'))
  t.strictSame(attempts.map(({ status }) => status), [204, 0, 408])
})

t.test('an endless or silent answer ends', async (t) => {
  const { attempts, options } = await serve(t, (_, response) => response.writeHead(200).end('x'.repeat(64 * 1024 + 1)), () => {})
  t.equal(await confirmSubscription(message, { ...options, delaysMs: [1], timeoutMs: 200 }), false)
  t.match(attempts[0]?.detail, /more than 65536 bytes/)
  t.match(attempts[1]?.detail, /timeout/)
})

t.test('a stop ends the attempts, and between them too', async (t) => {
  const { urls, options } = await serve(t, answer(503))
  const between = new AbortController()
  t.equal(await confirmSubscription(message, {
    ...options,
    delaysMs: [3600_000],
    signal: between.signal,
    onAttempt: () => { setImmediate(() => between.abort()) }
  }), false)
  t.equal(urls.length, 1)
  const during = await serve(t, () => stop.abort())
  const stop = new AbortController()
  t.equal(await confirmSubscription(message, { ...during.options, signal: stop.signal }), false)
  t.equal(during.attempts[0]?.again, false)
})

t.test('no word of an attempt holds the token', async (t) => {
  const { attempts, options } = await serve(t, (request) => request.socket.destroy(), answer(500, message.token))
  await confirmSubscription(message, options)
  await confirmSubscription(message, { ...options, origin: 'http://127.0.0.1:1', delaysMs: [] })
  await confirmSubscription(message, { ...options, origin: 'gopher://127.0.0.1', delaysMs: [] })
  t.equal(attempts.length, 5)
  t.notMatch(JSON.stringify(attempts), new RegExp(message.token))
})
