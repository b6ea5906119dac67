import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { sql } from 'kysely'
import t from 'tap'
import { bucket, startSandbox, topicArn } from '../sandbox/sandbox.ts'
import { bodyOf } from '../sandbox/sns/message.ts'
import { buildApp } from '../src/app.ts'
import type { Job } from '../src/schemas.ts'
import { testConfig } from './app.ts'
import { makeDataDir } from './data-dir.ts'
import { until } from './process.ts'

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const sandbox = await startSandbox({}, { retryScale: 0.005, policy: { numRetries: 100 } })
const { sns } = sandbox
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0', SNS_BASIC_AUTH: 'edge:the-secret-of-sns' }), { logger: false })
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
const endpoint = (credentials: string) => origin.replace('://', `://${credentials}@`) + '/sns'

let sequencer = 0
const event = (key: string) => JSON.stringify({ Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key, size: 1, sequencer: `AA${String(++sequencer).padStart(4, '0')}` } } }] })
const jobs = async (key: string) => (await app.inject(`/jobs?bucket=${bucket}&key=${key}`)).json().items as Job[]
const authorization = `Basic ${Buffer.from('edge:the-secret-of-sns').toString('base64')}`
const authorized = { authorization }

t.test('SNS is asked for its credentials by a realm, sends them, and is let in', async t => {
  const subscription = sns.subscribe(topicArn, endpoint('edge:the-secret-of-sns'))
  await subscription.confirmed
  sns.publish(topicArn, event('locked.js'))
  await sns.idle()
  t.match(sns.log.map(({ type, outcome, status }) => [type, outcome, status]), [
    ['SubscriptionConfirmation', 'challenged', 401], ['SubscriptionConfirmation', 'delivered', 200],
    ['Notification', 'challenged', 401], ['Notification', 'delivered', 200]
  ])
  t.match(await jobs('locked.js'), [{ source: { type: 'sns', topicArn } }])
  sns.unsubscribe(subscription.arn)
  await sns.idle()
})

t.test('without them nobody is, however well the message is signed', async t => {
  const body = bodyOf(sns.sign({ Type: 'Notification', MessageId: randomUUID(), TopicArn: topicArn, Message: event('shut.js'), Timestamp: new Date().toISOString() }))
  for (const given of [{}, { authorization: 'Basic' }, { authorization: `Basic ${Buffer.from('edge:wrong').toString('base64')}` }, { authorization: `Basic ${Buffer.from('the-secret-of-sns').toString('base64')}` }, { authorization: 'Bearer the-secret-of-sns' }]) {
    const answer = await app.inject({ method: 'POST', url: '/sns', payload: body, headers: given })
    t.match({ status: answer.statusCode, challenge: answer.headers['www-authenticate'], ...answer.json() }, { status: 401, challenge: 'Basic realm="sns"', code: 'unauthorized' })
  }
  t.same(await jobs('shut.js'), [])
  t.equal((await app.inject({ method: 'POST', url: '/sns/', payload: body, headers: authorized })).statusCode, 200, 'a slash at the end is no reason to lose it')
  t.equal((await jobs('shut.js')).length, 1)
})

t.test('the question for credentials does not wait for the body', async t => {
  const answer = await new Promise<{ statusCode?: number | undefined }>((resolve, reject) => {
    const outgoing = request(`${origin}/sns`, { method: 'POST', headers: { 'content-length': 1_000_000 } }, response => {
      outgoing.destroy()
      resolve(response)
    })
    outgoing.on('error', reject).flushHeaders()
  })
  t.equal(answer.statusCode, 401)
})

t.test('raw delivery makes a job, and its repeat none', async t => {
  const subscription = sns.subscribe(topicArn, endpoint('edge:the-secret-of-sns'), { raw: true })
  await subscription.confirmed
  sns.faults.add({ match: { action: 'Notification' }, kind: 'lose-acknowledgement', times: 1 })
  sns.publish(topicArn, event('raw.js'))
  await sns.idle()
  t.same(sns.log.filter(each => each.authorized).slice(-2).map(each => each.outcome), ['unacknowledged', 'delivered'])
  const made = await jobs('raw.js')
  t.match(made, [{ source: { type: 'sns', topicArn, messageId: /^[0-9a-f-]{36}$/ } }])
  t.equal(made.length, 1)
  sns.unsubscribe(subscription.arn)
  await sns.idle()
})

t.test('raw delivery of another topic is refused', async t => {
  const answer = await app.inject({ method: 'POST', url: '/sns', payload: event('foreign.js'), headers: { ...authorized, 'x-amz-sns-rawdelivery': 'true', 'x-amz-sns-message-type': 'Notification', 'x-amz-sns-message-id': randomUUID(), 'x-amz-sns-topic-arn': `${topicArn}-2` } })
  t.match({ status: answer.statusCode, ...answer.json() }, { status: 403, code: 'sns_refused' })
  t.same(await jobs('foreign.js'), [])
})

t.test('whatever Content-Type a delivery policy asks for reaches us', async t => {
  for (const [index, contentType] of ['text/plain; charset=UTF-8', 'application/json', 'application/xml', 'multipart/form-data', 'application/x-www-form-urlencoded', 'text/plain; charset="', 'nonsense', ' '].entries()) {
    const body = bodyOf(sns.sign({ Type: 'Notification', MessageId: randomUUID(), TopicArn: topicArn, Message: event(`type/${index}.js`), Timestamp: new Date().toISOString() }))
    t.equal((await app.inject({ method: 'POST', url: '/sns', payload: body, headers: { ...authorized, 'content-type': contentType } })).statusCode, 200, contentType)
    t.equal((await jobs(`type/${index}.js`)).length, 1)
  }
})

t.test('a body as large as SNS can make it is taken, and none that is larger', async t => {
  const most = 1024 * 1024
  t.equal((await app.inject({ method: 'POST', url: '/sns', payload: Buffer.alloc(most, 'x'), headers: authorized })).json().code, 'sns_malformed')
  t.equal((await app.inject({ method: 'POST', url: '/sns', payload: Buffer.alloc(most + 1, 'x'), headers: authorized })).statusCode, 413)
})

t.test('while the database cannot take it SNS is told to come again, and nothing is lost', async t => {
  const { kysely } = app.clients.store
  const subscription = sns.subscribe(topicArn, endpoint('edge:the-secret-of-sns'), { confirmed: true })
  await sql`alter table hints rename to hints_elsewhere`.execute(kysely)
  for (let n = 0; n < 5; n++) sns.publish(topicArn, event(`kept/${n}.js`))
  await until(() => sns.log.filter(each => each.status === 503).length >= 10, 'each was refused more than once')
  t.same(await jobs('kept/0.js'), [])
  const answer = await app.inject({ method: 'POST', url: '/events', payload: event('kept/0.js') })
  t.match({ status: answer.statusCode, ...answer.json() }, { status: 503, code: 'store_unavailable' })
  await sql`alter table hints_elsewhere rename to hints`.execute(kysely)
  await sns.idle()
  t.same(sns.deadLetters, [])
  for (let n = 0; n < 5; n++) t.equal((await jobs(`kept/${n}.js`)).length, 1)
  t.equal(subscription.state, 'confirmed')
})
