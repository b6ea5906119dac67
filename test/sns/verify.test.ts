import t from 'tap'
import { createCertificates } from '../../src/sns/certificates/cache.ts'
import { parseMessage } from '../../src/sns/message.ts'
import { createVerifier } from '../../src/sns/verify.ts'
import { atPolicyTime, certificates as pems, createVectorVerifier, policy, refusalOf, vector, vectors } from './vectors.ts'

t.test('every signed vector gets its verdict, at the stage that should refuse it', async (t) => {
  t.equal(vectors.length, 91)
  for (const each of vectors) {
    const { receive } = createVectorVerifier()
    if (each.verdict === 'accept') {
      const { type } = await receive(each)
      t.equal(type, JSON.parse(each.body).Type, each.id)
      t.equal(type === 'SubscriptionConfirmation', each.then === 'confirm', each.id)
    } else {
      const { stage, reason } = await refusalOf(async () => await receive(each))
      t.ok((each.rejectAt ?? '').split(' or ').includes(stage), `${each.id}: ${reason} at ${stage}, wanted at ${each.rejectAt}`)
    }
  }
})

t.test('bytes are read as the text is', async (t) => {
  const { receive } = createVectorVerifier()
  const each = vector('ok-n-v2-unicode')
  t.same(await receive({ ...each, body: Buffer.from(each.body) }), await receive(each))
  const bom = vector('shape-bom')
  t.equal((await refusalOf(async () => await receive({ ...bom, body: Buffer.from(bom.body) }))).reason, 'not_json')
})

t.test('what is verified holds what was signed, and no URL', async (t) => {
  const { receive } = createVectorVerifier()
  const { Message, Subject, MessageId, Timestamp, TopicArn } = JSON.parse(vector('ok-n-v2-subject').body)
  t.strictSame(await receive(vector('ok-n-v2-subject')), {
    type: 'Notification',
    messageId: MessageId,
    topic: { arn: TopicArn, partition: 'aws', region: 'us-east-1' },
    publishedAt: new Date(Timestamp),
    message: Message,
    subject: Subject
  })
  t.strictSame(Object.keys(await receive(vector('ok-n-v1'))), ['type', 'messageId', 'topic', 'publishedAt', 'message'])
  t.strictSame(Object.keys(await receive(vector('ok-sub-v2'))), ['type', 'messageId', 'topic', 'publishedAt', 'token'])
  t.strictSame(Object.keys(await receive(vector('ok-unsub-v2'))), ['type', 'messageId', 'topic', 'publishedAt'])
})

t.test('nothing is fetched for a message of bad shape, foreign topic, wrong time or foreign certificate', async (t) => {
  for (const each of vectors) {
    const { receive, asked } = createVectorVerifier()
    const stage = await receive(each).then(() => 'passed', (error) => error.stage)
    t.equal(asked.length, ['shape', 'topic', 'timestamp', 'cert-url'].includes(stage) ? 0 : 1, `${each.id}: ${asked.length} fetches, ${stage}`)
  }
})

t.test('what a retry cannot mend is final, what may pass later is not', async (t) => {
  const retryable = new Set(['cert-404', 'cert-503', 'cert-html', 'cert-redirect'])
  for (const each of vectors.filter(({ verdict }) => verdict === 'reject')) {
    const { receive } = createVectorVerifier()
    const refusal = await refusalOf(async () => await receive(each))
    const status = retryable.has(each.id) ? 503 : refusal.stage === 'shape' ? 400 : 403
    t.equal(refusal.statusCode, status, `${each.id}: ${refusal.message}`)
    t.equal(refusal.retryable, status === 503)
  }
})

t.test('no refusal shows a token or what was published', async (t) => {
  for (const each of vectors.filter(({ verdict }) => verdict === 'reject')) {
    const { receive } = createVectorVerifier()
    const { message } = await refusalOf(async () => await receive(each))
    t.notMatch(message, /Token=|[0-9a-f]{64}|Records/, each.id)
    // eslint-disable-next-line no-control-regex
    t.notMatch(message, /[\u0000-\u001f]/, each.id)
  }
})

t.test('a message may be two hours old and five minutes early, and not a moment more', async (t) => {
  const message = parseMessage(vector('ok-n-v2').body)
  const publishedAt = Date.parse(message.timestamp)
  const at = (ms: number) => createVectorVerifier({ now: () => new Date(publishedAt + ms) })
  t.equal((await at(7_200_000).verify(message)).type, 'Notification')
  t.equal((await refusalOf(async () => await at(7_200_001).verify(message))).reason, 'stale')
  t.equal((await at(-300_000).verify(message)).type, 'Notification')
  t.equal((await refusalOf(async () => await at(-300_001).verify(message))).reason, 'in_the_future')
})

t.test('a time that no calendar has is refused', async (t) => {
  const message = parseMessage(vector('ok-n-v2').body)
  for (const timestamp of ['2026-02-30T10:00:00.000Z', '2026-11-23T09:58:11Z', '2026-11-23T09:58:11.977+00:00', '+002026-11-23T09:58:11.977Z']) {
    t.equal((await refusalOf(async () => await createVectorVerifier().verify({ ...message, timestamp }))).reason, 'bad_timestamp', timestamp)
  }
})

t.test('without topics everything is refused, and a topic nobody can trust is refused at the start', async (t) => {
  const certificates = createCertificates({ fetchCertificate: async () => pems.commercial, now: atPolicyTime })
  const verifier = createVerifier({ topicArns: [], certificates, now: atPolicyTime })
  t.equal((await refusalOf(async () => await verifier.verify(parseMessage(vector('ok-n-v2').body)))).reason, 'topic_not_allowed')
  for (const arn of ['arn:aws:sqs:us-east-1:111122223333:media-sync', 'arn:aws:sns:us-east-1:111122223333:media.fifo', 'arn:aws-moon:sns:us-east-1:111122223333:a', 'arn:aws:sns:us-east-1.evil:111122223333:a', '*']) {
    t.throws(() => createVerifier({ topicArns: [arn], certificates, now: atPolicyTime }), /not the ARN of a standard SNS topic/, arn)
  }
})

t.test('with an emulator, certificates and confirmations come from its origin only', async (t) => {
  const origin = 'http://127.0.0.1:4100'
  const options = { origin, fetchCertificate: async () => pems.commercial }
  const theirs = parseMessage(vector('ok-n-v2').body)
  t.equal((await refusalOf(async () => await createVectorVerifier(options).verify(theirs))).reason, 'bad_certificate_url')
  // The certificate URL is not signed, so that a genuine message can be served from another place.
  const ours = { ...theirs, signingCertUrl: `${origin}/SimpleNotificationService-30f22bc903efecb6d357517b9cafc1cf.pem` }
  t.equal((await createVectorVerifier(options).verify(ours)).type, 'Notification')
  t.equal((await refusalOf(async () => await createVectorVerifier().verify(ours))).reason, 'bad_certificate_url')
  const subscribe = { ...parseMessage(vector('ok-sub-v2').body), signingCertUrl: ours.signingCertUrl }
  t.equal((await refusalOf(async () => await createVectorVerifier(options).verify(subscribe))).reason, 'bad_subscribe_url')
})

/** Ways to change a genuine message in one place. Each must be noticed, whatever it touches. */
const mutations: Array<[string, (text: string) => string]> = [
  ['a letter added', (text) => `${text}x`],
  ['a letter before', (text) => `x${text}`],
  ['a space added', (text) => `${text} `],
  ['a line end added', (text) => `${text}\n`],
  ['a NUL added', (text) => `${text}\0`],
  ['the last letter cut', (text) => text.slice(0, -1)],
  ['the first letter cut', (text) => text.slice(1)],
  ['two letters swapped', (text) => `${text.slice(0, 9)}${text.charAt(10)}${text.charAt(9)}${text.slice(11)}`],
  ['doubled', (text) => text + text],
  ['emptied', () => '']
]

t.test('a genuine message with any one thing changed is refused', async (t) => {
  let count = 0
  for (const [id, members] of Object.entries({
    'ok-n-v2-subject': ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type', 'Signature', 'SigningCertURL', 'SignatureVersion'],
    'ok-sub-v1': ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type', 'Signature', 'SigningCertURL', 'SignatureVersion']
  })) {
    const genuine = JSON.parse(vector(id).body)
    for (const member of members) {
      for (const [name, change] of mutations) {
        const changed = change(genuine[member])
        if (changed === genuine[member]) continue
        count++
        const refusal = await refusalOf(async () => await createVectorVerifier().receive({ body: JSON.stringify({ ...genuine, [member]: changed }) }))
        t.notOk(refusal.retryable, `${id}, ${member} ${name}: ${refusal.reason}`)
      }
      const { [member]: left, ...rest } = genuine
      const refusal = await refusalOf(async () => await createVectorVerifier().receive({ body: JSON.stringify(rest) }))
      t.equal(refusal.stage, member === 'Subject' ? 'signature' : 'shape', `${id} without ${member}`)
      count++
    }
  }
  t.ok(count > 180, `${count} changes`)
  t.equal(policy.maxAgeSeconds, 7200)
})
