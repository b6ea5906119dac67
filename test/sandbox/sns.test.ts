import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { createRequire } from 'node:module'
import https from 'node:https'
import { get } from 'node:http'
import PayloadValidator from 'sns-payload-validator'
import t from 'tap'
import { makeSigningIdentity } from '../../sandbox/sns/certificate.ts'
import { retryDelays } from '../../sandbox/sns/delivery/retry-policy.ts'
import { startSns, type SnsOptions } from '../../sandbox/sns/server.ts'
import { startEndpoint } from './endpoint.ts'

const topic = 'arn:aws:sns:us-east-1:123456789012:example-assets'
type Message = Record<string, string>
type Tap = { teardown: (fn: () => Promise<void>) => unknown }

async function start (t: Tap, options: SnsOptions = {}) {
  // A short key is made faster, and signs in the same way.
  const sns = await startSns({ topics: [topic], retryScale: 0.0005, certificate: { bits: 1024 }, ...options })
  t.teardown(async () => { await sns.close() })
  return sns
}

/** The signature by Amazon's description of it, written without a look at the emulator. */
async function isGenuine (message: Message): Promise<boolean> {
  const certificate = await (await fetch(message.SigningCertURL ?? '')).text()
  const names = message.Type === 'Notification' ? 'Message MessageId Subject Timestamp TopicArn Type' : 'Message MessageId SubscribeURL Timestamp Token TopicArn Type'
  let text = ''
  for (const name of names.split(' ')) if (message[name] !== undefined) text += name + '\n' + message[name] + '\n'
  const digest = { 1: 'RSA-SHA1', 2: 'RSA-SHA256' }[message.SignatureVersion ?? ''] ?? ''
  return verify(digest, Buffer.from(text, 'utf8'), createPublicKey(certificate), Buffer.from(message.Signature ?? '', 'base64'))
}

t.test('a certificate is what any reader takes for one, with the names and dates asked for', async t => {
  const now = Date.parse('2026-11-23T10:00:00Z')
  const { pem, path } = await makeSigningIdentity({}, now)
  const usual = new X509Certificate(pem)
  t.match(path, /^\/SimpleNotificationService-[0-9a-f]{32}\.pem$/)
  t.equal(usual.subject, 'CN=sns.amazonaws.com')
  t.equal(usual.checkHost('sns.amazonaws.com'), 'sns.amazonaws.com')
  t.equal(usual.ca, false)
  t.ok(usual.verify(usual.publicKey))
  t.equal(usual.publicKey.asymmetricKeyDetails?.modulusLength, 2048)
  t.ok(Date.parse(usual.validFrom) < now && Date.parse(usual.validTo) > now)
  const odd = new X509Certificate((await makeSigningIdentity({ names: ['sns.example', 'second.example'], notBefore: new Date('2001-02-03T04:05:06Z'), notAfter: new Date('2051-12-31T23:59:59Z'), bits: 1024 }, now)).pem)
  t.equal(odd.subjectAltName, 'DNS:sns.example, DNS:second.example')
  t.equal(odd.validFromDate.toISOString(), '2001-02-03T04:05:06.000Z')
  t.equal(odd.validToDate.toISOString(), '2051-12-31T23:59:59.000Z')
})

t.test('a subscription begins with a signed confirmation, and ends with one', async t => {
  const sns = await start(t)
  const endpoint = await startEndpoint(t)
  const subscription = sns.subscribe(topic, `${endpoint.url}?a=b`)
  sns.publish(topic, 'too early')
  await sns.idle()
  const [asked = {}] = endpoint.messages()
  t.equal(endpoint.received.length, 1, 'nothing else before the confirmation')
  t.equal(endpoint.received[0]?.url, '/sns?a=b')
  t.match(endpoint.received[0]?.headers, {
    'x-amz-sns-message-type': 'SubscriptionConfirmation',
    'x-amz-sns-message-id': asked.MessageId,
    'x-amz-sns-topic-arn': topic,
    'x-amz-sns-subscription-arn': undefined,
    'content-type': 'text/plain; charset=UTF-8',
    'user-agent': 'Amazon Simple Notification Service Agent',
    authorization: undefined
  })
  t.same(Object.keys(asked), ['Type', 'MessageId', 'Token', 'TopicArn', 'Message', 'SubscribeURL', 'Timestamp', 'SignatureVersion', 'Signature', 'SigningCertURL'])
  t.ok(await isGenuine(asked))
  for (let twice = 0; twice < 2; twice++) t.match(await (await fetch(asked.SubscribeURL ?? '')).text(), `<SubscriptionArn>${subscription.arn}</SubscriptionArn>`)
  await subscription.confirmed
  t.equal(sns.subscribe(topic, `${endpoint.url}?a=b`), subscription, 'the same endpoint is not asked again')

  const id = sns.publish(topic, '{"quoted":"é日"}', { subject: 'Amazon S3 Notification' })
  await sns.idle()
  const note = endpoint.messages()[1] ?? {}
  t.match(note, { Type: 'Notification', MessageId: id, TopicArn: topic, Subject: 'Amazon S3 Notification', Message: '{"quoted":"é日"}', SignatureVersion: '1', Timestamp: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ })
  t.match(endpoint.received[1]?.headers, { 'x-amz-sns-message-type': 'Notification', 'x-amz-sns-subscription-arn': subscription.arn, 'x-amz-sns-rawdelivery': undefined })
  t.ok(await isGenuine(note))
  t.notOk(await isGenuine({ ...note, Subject: 'another' }))

  t.equal((await fetch(note.UnsubscribeURL ?? '')).status, 200)
  sns.publish(topic, 'too late')
  await sns.idle()
  const [goodbye = {}, ...more] = endpoint.messages().slice(2)
  t.match(goodbye, { Type: 'UnsubscribeConfirmation', Token: /^[0-9a-f]+$/ })
  t.same(more, [])
  t.ok(await isGenuine(goodbye))
  await fetch(goodbye.SubscribeURL ?? '')
  t.equal(subscription.state, 'confirmed', 'its URL subscribes again')
})

t.test('verifiers that others wrote take both signatures, and nothing that was changed', async t => {
  const sns = await start(t, { signatureVersion: 'mixed', publicOrigin: 'https://sns.us-east-1.amazonaws.com' })
  const endpoint = await startEndpoint(t)
  const real = https.get
  t.teardown(() => { Object.assign(https, { get: real }) })
  // Both fetch the certificate by https.get from Amazon's host.
  Object.assign(https, { get: (url: string, ...rest: unknown[]) => get(url.replace('https://sns.us-east-1.amazonaws.com', sns.origin), rest.at(-1) as () => void) })
  const MessageValidator = createRequire(import.meta.url)('sns-validator') as new () => { validate: (message: Message, done: (error: Error | null) => void) => void }
  const verifiers = {
    'sns-validator': async (message: Message) => { await new Promise<void>((resolve, reject) => { new MessageValidator().validate(message, error => { error === null ? resolve() : reject(error) }) }) },
    'sns-payload-validator': async (message: Message) => { await new PayloadValidator().validate(JSON.stringify(message)) }
  }
  sns.subscribe(topic, endpoint.url)
  await sns.idle()
  sns.subscriptions[0]!.state = 'confirmed'
  sns.publish(topic, 'line one\nline two', { subject: 'A subject' })
  await sns.idle()
  await sns.renewCertificate()
  sns.publish(topic, 'under a renewed certificate')
  sns.publish(topic, 'and the other version')
  await sns.idle()
  t.same(endpoint.messages().map(each => each.SignatureVersion).sort(), ['1', '1', '2', '2'])
  for (const message of endpoint.messages()) {
    for (const [name, accepts] of Object.entries(verifiers)) {
      await t.resolves(accepts({ ...message }), `${name} takes ${message.Type} by version ${message.SignatureVersion}`)
      await t.rejects(accepts({ ...message, Message: 'forged' }), `${name} refuses a forged ${message.Type}`)
    }
  }
  const foreign = sns.sign({ Type: 'Notification', MessageId: 'any', TopicArn: 'arn:aws:sns:us-east-1:999999999999:foreign', Message: 'm', Timestamp: 't' }, '2')
  for (const accepts of Object.values(verifiers)) await t.resolves(accepts(foreign), 'any members can be signed, to attack with')
})

t.test('what fails is tried again with the same bytes, what is refused is not', async t => {
  const sns = await start(t)
  const answers: Record<string, Array<number | undefined>> = { recovers: [503, 500, 202], down: [503], silent: [undefined, 200], bad: [400], moved: [301], busy: [429], forbidden: [403] }
  const seen = new Map<string, number>()
  const endpoint = await startEndpoint(t, ({ body }) => {
    const script = answers[(JSON.parse(body) as Message).Message ?? ''] ?? []
    const count = seen.get(body) ?? 0
    seen.set(body, count + 1)
    return script[Math.min(count, script.length - 1)]
  })
  const impatient = await start(t, { timeoutMs: 100, policy: { numRetries: 50 } })
  for (const each of [sns, impatient]) each.subscribe(topic, endpoint.url, { confirmed: true })
  const outcomes = async (message: string, by = sns) => {
    const id = by.publish(topic, message)
    await by.idle()
    return by.log.filter(each => each.messageId === id).map(({ attempt, status, outcome }) => `${attempt} ${status} ${outcome}`)
  }
  t.same(await outcomes('recovers'), ['1 503 failed', '2 500 failed', '3 202 delivered'])
  t.equal(new Set(endpoint.received.map(each => each.body)).size, 1)
  t.equal(new Set(endpoint.received.map(each => each.headers['x-amz-sns-message-id'])).size, 1)
  t.same(await outcomes('down'), ['1 503 failed', '2 503 failed', '3 503 failed', '4 503 given up'])
  const silent = await outcomes('silent', impatient)
  t.equal(silent[0], '1 0 failed')
  t.match(silent.at(-1), ' 200 delivered')
  for (const [message, status] of [['bad', 400], ['moved', 301], ['busy', 429], ['forbidden', 403]] as const) t.same(await outcomes(message), [`1 ${status} refused`])
  t.same(sns.deadLetters.map(each => (JSON.parse(each.body) as Message).Message), ['down', 'bad', 'moved', 'busy', 'forbidden'])
  sns.subscriptions.length = 0
  sns.subscribe(topic, 'http://127.0.0.1:1/', { confirmed: true, policy: { numRetries: 1, numNoDelayRetries: 1 } })
  t.same(await outcomes('recovers'), ['1 0 failed', '2 0 given up'])
})

t.test('a delivery policy is waited out phase by phase, for an hour at most', async t => {
  t.same(retryDelays(), [20, 20, 20])
  t.same(retryDelays({ numRetries: 7, numNoDelayRetries: 1, numMinDelayRetries: 2, numMaxDelayRetries: 1, minDelayTarget: 5, maxDelayTarget: 65 }), [0, 5, 5, 25, 45, 65, 65])
  for (const backoffFunction of ['arithmetic', 'geometric', 'exponential'] as const) {
    const delays = retryDelays({ numRetries: 10, minDelayTarget: 1, maxDelayTarget: 100, backoffFunction })
    t.same(delays, [...delays].sort((a, b) => a - b))
    t.equal(Math.round(delays.at(-1) ?? 0), 100)
  }
  t.equal(retryDelays({ numRetries: 100, minDelayTarget: 600, maxDelayTarget: 600 }).length, 6)
  for (const bad of [{ numRetries: 101 }, { numRetries: 1, numNoDelayRetries: 2 }, { minDelayTarget: 30 }]) t.throws(() => retryDelays(bad), RangeError)
})

t.test('credentials in the URL follow only a challenge that names a realm', async t => {
  const sns = await start(t)
  const challenges = ['Basic realm="sns"', 'Digest realm="x", Basic charset="UTF-8", realm=sns', 'Basic', 'Bearer realm="sns"']
  for (const [index, challenge] of challenges.entries()) {
    const endpoint = await startEndpoint(t, ({ headers }) => headers.authorization === `Basic ${btoa('user:se cret')}` ? 200 : [401, { 'WWW-Authenticate': challenge }])
    sns.subscribe(topic, endpoint.url.replace('//', '//user:se%20cret@'))
    await sns.idle()
    const outcomes = sns.log.splice(0).map(({ attempt, status, outcome, authorized }) => ({ attempt, status, outcome, authorized }))
    t.same(outcomes, index < 2
      ? [{ attempt: 1, status: 401, outcome: 'challenged', authorized: false }, { attempt: 1, status: 200, outcome: 'delivered', authorized: true }]
      : [{ attempt: 1, status: 401, outcome: 'refused', authorized: false }], challenge)
  }
  t.notMatch(JSON.stringify(sns.log), 'cret')
})

t.test('raw delivery sends the bare message, and still confirms with an envelope', async t => {
  const sns = await start(t)
  const endpoint = await startEndpoint(t)
  const { arn } = sns.subscribe(topic, endpoint.url, { raw: true, contentType: 'application/json' })
  await sns.idle()
  await fetch(endpoint.messages()[0]?.SubscribeURL ?? '')
  const id = sns.publish(topic, '{"Records":[]}', { subject: 'dropped', attributes: { a: { Type: 'String', Value: 'dropped' } } })
  await sns.idle()
  t.match(endpoint.received[0]?.headers, { 'x-amz-sns-rawdelivery': undefined })
  t.match(endpoint.received[1], { body: '{"Records":[]}', headers: { 'x-amz-sns-rawdelivery': 'true', 'x-amz-sns-message-id': id, 'x-amz-sns-subscription-arn': arn, 'content-type': 'application/json' } })
})

t.test('messages are lost, doubled, overtaken, and repeated when their acknowledgement is lost', async t => {
  const sns = await start(t)
  const endpoint = await startEndpoint(t)
  sns.subscribe(topic, endpoint.url, { confirmed: true })
  const deliveries = async (count: number, kind: string, action = 'Publish') => {
    sns.faults.add({ kind, times: 1, match: { action } })
    endpoint.received.length = 0
    for (let index = 0; index < count; index++) sns.publish(topic, String(index))
    await sns.idle()
    return { texts: endpoint.messages().map(each => each.Message), ids: new Set(endpoint.messages().map(each => each.MessageId)).size }
  }
  t.same(await deliveries(1, 'lose'), { texts: [], ids: 0 })
  t.same(await deliveries(1, 'double'), { texts: ['0', '0'], ids: 2 })
  t.same(await deliveries(1, 'lose-acknowledgement', 'Notification'), { texts: ['0', '0'], ids: 1 })
  t.same(await deliveries(1, 'hold'), { texts: ['0'], ids: 1 }, 'what nothing overtakes is delivered all the same')
  const overtaken = await deliveries(8, 'hold')
  t.same([...overtaken.texts].sort(), ['0', '1', '2', '3', '4', '5', '6', '7'])
  t.not(overtaken.texts[0], '0')
  sns.faults.add({ reset: 'before', latencyMs: 1, times: 1, match: { action: 'Notification' } })
  t.same(await deliveries(1, 'none'), { texts: ['0'], ids: 1 })
  t.same(sns.log.slice(-2).map(each => each.outcome), ['failed', 'delivered'])
})

t.test('chance strikes the same way for the same seed', async t => {
  const run = async (seed: number) => {
    const sns = await start(t, { seed })
    const endpoint = await startEndpoint(t)
    sns.subscribe(topic, endpoint.url, { confirmed: true })
    Object.assign(sns.chances, { lose: 0.2, double: 0.2 })
    for (let index = 0; index < 40; index++) sns.publish(topic, String(index))
    await sns.idle()
    return endpoint.messages().map(each => Number(each.Message)).sort((a, b) => a - b).join()
  }
  const first = await run(7)
  t.equal(await run(7), first)
  t.not(await run(8), first)
})

t.test('the query API needs no SDK, and refuses in AWS\'s words', async t => {
  const sns = await start(t)
  const endpoint = await startEndpoint(t)
  const ask = async (query: Record<string, string>, method = 'GET') => {
    const body = new URLSearchParams(query)
    const answer = await (method === 'GET' ? fetch(`${sns.origin}/?${body}`) : fetch(sns.origin, { method, body }))
    return { status: answer.status, text: await answer.text() }
  }
  t.match(await ask({ Action: 'Subscribe', TopicArn: topic, Protocol: 'http', Endpoint: endpoint.url, 'Attributes.entry.1.key': 'RawMessageDelivery', 'Attributes.entry.1.value': 'true' }), { status: 200, text: '<SubscriptionArn>pending confirmation</SubscriptionArn>' })
  await sns.idle()
  await fetch(endpoint.messages()[0]?.SubscribeURL ?? '')
  t.match(await ask({ Action: 'Publish', TopicArn: topic, Message: 'a & b' }, 'POST'), { status: 200, text: '<MessageId>' })
  await sns.idle()
  t.equal(endpoint.received[1]?.body, 'a & b')
  const refusals: Array<[Record<string, string>, number, string]> = [
    [{ Action: 'ConfirmSubscription', TopicArn: topic, Token: 'unknown' }, 400, 'InvalidParameter'],
    [{ Action: 'ConfirmSubscription', TopicArn: `${topic}-x`, Token: 'unknown' }, 404, 'NotFound'],
    [{ Action: 'ConfirmSubscription', TopicArn: topic }, 400, 'InvalidParameter'],
    [{ Action: 'Subscribe', TopicArn: topic, Endpoint: 'ftp://example.com' }, 400, 'InvalidParameter'],
    [{ Action: 'Publish', TopicArn: topic, Message: 'x', Subject: 'line\nbreak' }, 400, 'InvalidParameter'],
    [{ Action: 'Publish', TopicArn: topic, Message: 'x'.repeat(262_145) }, 400, 'InvalidParameter'],
    [{ Action: 'Dance' }, 400, 'InvalidAction']
  ]
  for (const [query, status, code] of refusals) t.match(await ask(query, 'POST'), { status, text: `<Code>${code}</Code>` })
  t.equal((await fetch(`${sns.origin}/SimpleNotificationService-${'0'.repeat(32)}.pem`)).status, 404)
  sns.faults.add({ match: { action: 'Certificate' }, status: 503, times: 1 })
  t.equal((await fetch(sns.certificateUrl())).status, 503)
  t.equal(new X509Certificate(await (await fetch(sns.certificateUrl())).text()).subject, 'CN=sns.amazonaws.com')
  sns.faults.add({ match: { action: 'ConfirmSubscription' }, reset: 'before', latencyMs: 1, times: 1 })
  await t.rejects(ask({ Action: 'ConfirmSubscription' }))
})
