import t from 'tap'
import { parseMessage } from '../../src/sns/message.ts'
import { quote } from '../../src/sns/refusal.ts'
import { refusalOf, vector } from './vectors.ts'

const genuine = () => JSON.parse(vector('ok-n-v2-subject').body)
const reasonOf = async (members: object, headers = {}) => (await refusalOf(() => parseMessage(JSON.stringify({ ...genuine(), ...members }), headers))).reason

t.test('only what is signed, and what proves it, is read', async (t) => {
  const body = genuine()
  t.strictSame(parseMessage(vector('ok-n-v2-subject').body), {
    type: 'Notification',
    messageId: body.MessageId,
    topicArn: body.TopicArn,
    message: body.Message,
    timestamp: body.Timestamp,
    signatureVersion: '2',
    signature: body.Signature,
    signingCertUrl: body.SigningCertURL,
    subject: 'Amazon S3 Notification'
  })
})

t.test('each fault of shape has its word', async (t) => {
  t.equal(await reasonOf({ Type: 'Greeting' }), 'unknown_type')
  t.equal(await reasonOf({ SignatureVersion: '02' }), 'unknown_signature_version')
  t.equal(await reasonOf({ MessageId: '527285af' }), 'bad_message_id')
  t.equal(await reasonOf({ Message: ['text'] }), 'missing_member')
  t.equal(await reasonOf({ Subject: null }), 'missing_member')
  t.equal(await reasonOf({ Subject: 'two\nlines' }), 'control_character')
  t.equal(await reasonOf({ TopicArn: 'a\u007f' }), 'control_character')
  t.equal(await reasonOf({ Type: 'SubscriptionConfirmation', Token: 'a-b', SubscribeURL: 'x' }), 'bad_token')
  t.equal((await refusalOf(() => parseMessage(Buffer.from([0x7b, 0xff, 0x7d])))).reason, 'not_utf8')
  for (const [body, reason] of [['', 'not_json'], ['{', 'not_json'], ['null', 'not_an_object'], ['[]', 'not_an_object'], ['1', 'not_an_object'], ['{"__proto__":{}}', 'forbidden_member'], ['{}', 'missing_member']] as const) {
    t.equal((await refusalOf(() => parseMessage(body))).reason, reason, body)
  }
})

t.test('a lone surrogate is refused, for it is signed as U+FFFD is', async (t) => {
  t.equal(await reasonOf({ Message: 'a\ud800' }), 'lone_surrogate')
  t.equal(await reasonOf({ Subject: '\udc00' }), 'lone_surrogate')
})

t.test('members of a prototype are no members', async (t) => {
  const { Message, ...rest } = genuine()
  t.equal((await refusalOf(() => parseMessage(JSON.stringify({ ...rest, constructor: { Message } })))).reason, 'missing_member')
})

t.test('headers may be absent, and must agree where they are not', async (t) => {
  const { body, headers } = vector('ok-n-v2-subject')
  t.equal(parseMessage(body, headers).type, 'Notification')
  for (const name of ['x-amz-sns-message-type', 'x-amz-sns-message-id', 'x-amz-sns-topic-arn']) {
    t.equal((await refusalOf(() => parseMessage(body, { ...headers, [name]: `${headers[name]}, x` }))).reason, 'header_mismatch', name)
    t.equal((await refusalOf(() => parseMessage(body, { ...headers, [name]: '' }))).reason, 'header_mismatch', name)
  }
})

t.test('raw delivery is named as what it is', async (t) => {
  const refusal = await refusalOf(() => parseMessage('{"Records":[]}', { 'x-amz-sns-rawdelivery': 'true' }))
  t.equal(refusal.reason, 'raw_delivery')
  t.match(refusal.message, /RawMessageDelivery/)
})

t.test('text of strangers is quoted short and escaped', async (t) => {
  t.equal(quote('a\nb'), '"a\\nb"')
  t.equal(quote('x'.repeat(500)).length, 125)
})
