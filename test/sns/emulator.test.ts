import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { startSns, type SnsOptions } from '../../sandbox/sns/server.ts'
import { createCertificates } from '../../src/sns/certificates/cache.ts'
import { fetchCertificate } from '../../src/sns/certificates/fetch.ts'
import { confirmSubscription } from '../../src/sns/confirm.ts'
import { parseMessage } from '../../src/sns/message.ts'
import { SnsRefusal } from '../../src/sns/refusal.ts'
import { createVerifier, type VerifiedMessage } from '../../src/sns/verify.ts'

const topicArn = 'arn:aws:sns:us-east-1:111122223333:media-sync'

/** An SNS and an endpoint that obeys it, as the service will. */
async function open (t: Test, options: SnsOptions = {}) {
  const sns = await startSns({ topics: [topicArn], retryScale: 0.001, ...options })
  const now = () => new Date()
  const certificates = createCertificates({ fetchCertificate, now, origin: sns.origin })
  const verifier = createVerifier({ topicArns: [topicArn], certificates, now })
  const outcomes: Array<VerifiedMessage | string> = []
  const server = createServer((request, response) => {
    request.toArray().then(async (chunks) => {
      const message = await verifier.verify(parseMessage(Buffer.concat(chunks), request.headers))
      outcomes.push(message)
      response.end()
      if (message.type === 'SubscriptionConfirmation') await confirmSubscription(message, { origin: sns.origin, delaysMs: [1, 1, 1] })
    }).catch((error: unknown) => {
      outcomes.push(error instanceof SnsRefusal ? error.reason : String(error))
      response.writeHead(error instanceof SnsRefusal ? error.statusCode : 500).end()
    })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await sns.close()
  })
  return { sns, outcomes, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sns` }
}

t.test('a subscription is confirmed, its messages pass in both versions, and its end is news only', async (t) => {
  const { sns, outcomes, endpoint } = await open(t, { signatureVersion: 'mixed' })
  const subscription = sns.subscribe(topicArn, endpoint)
  await subscription.confirmed
  for (const text of ['one', 'zwei\n', '三 \u2028 👩‍🚀', '{"Records":[]}']) sns.publish(topicArn, text, { subject: 'Amazon S3 Notification' })
  await sns.idle()
  t.same(outcomes.map((each) => typeof each === 'string' ? each : each.type), ['SubscriptionConfirmation', 'Notification', 'Notification', 'Notification', 'Notification'])
  t.same(new Set(outcomes.slice(1).map((each) => typeof each === 'object' && each.type === 'Notification' ? each.message : each)), new Set(['one', 'zwei\n', '三 \u2028 👩‍🚀', '{"Records":[]}']))
  sns.unsubscribe(subscription.arn)
  await sns.idle()
  t.match(outcomes.at(-1), { type: 'UnsubscribeConfirmation' })
  t.equal(subscription.state, 'deleted')
})

t.test('while no certificate can be had SNS is told to come again, and nothing is lost', async (t) => {
  const { sns, outcomes, endpoint } = await open(t)
  sns.faults.add({ match: { action: 'Certificate' }, status: 503, times: 2 })
  sns.subscribe(topicArn, endpoint, { confirmed: true })
  sns.publish(topicArn, 'kept')
  await sns.idle()
  t.match(outcomes, ['certificate_unreachable', 'certificate_unreachable', { type: 'Notification', message: 'kept' }])
  t.same(sns.deadLetters, [])
})

t.test('a confirmation that fails is tried again', async (t) => {
  const { sns, endpoint } = await open(t)
  sns.faults.add({ match: { action: 'ConfirmSubscription' }, status: 500, times: 2 })
  const subscription = sns.subscribe(topicArn, endpoint)
  await subscription.confirmed
  t.equal(subscription.state, 'confirmed')
})

t.test('a renewed certificate is fetched from its new place', async (t) => {
  const { sns, outcomes, endpoint } = await open(t)
  sns.subscribe(topicArn, endpoint, { confirmed: true })
  sns.publish(topicArn, 'before')
  await sns.renewCertificate()
  sns.publish(topicArn, 'after')
  await sns.idle()
  t.same(new Set(outcomes.map((each) => typeof each === 'object' && each.type === 'Notification' ? each.message : each)), new Set(['before', 'after']))
})

t.test('a key of 1024 bits, a foreign name and a clock that is far off are refused for good', async (t) => {
  const table: Array<[SnsOptions, string]> = [
    [{ certificate: { bits: 1024 } }, 'certificate_key_too_weak'],
    [{ certificate: { names: ['sns.example.com'] } }, 'certificate_of_another'],
    [{ now: () => Date.now() - 3 * 3600_000 }, 'stale'],
    [{ now: () => Date.now() + 3600_000 }, 'in_the_future']
  ]
  for (const [options, reason] of table) {
    const { sns, outcomes, endpoint } = await open(t, options)
    sns.subscribe(topicArn, endpoint, { confirmed: true })
    sns.publish(topicArn, 'lost')
    await sns.idle()
    t.same(outcomes, [reason])
    t.equal(sns.deadLetters.length, 1)
  }
})

t.test('raw delivery, which signs nothing, is refused', async (t) => {
  const { sns, outcomes, endpoint } = await open(t)
  sns.subscribe(topicArn, endpoint, { confirmed: true, raw: true })
  sns.publish(topicArn, '{"Records":[]}')
  await sns.idle()
  t.same(outcomes, ['raw_delivery'])
})
