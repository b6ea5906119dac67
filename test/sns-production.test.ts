import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bucket, cpCode, startSandbox, topicArn } from '../sandbox/sandbox.ts'
import { bodyOf, type Fields } from '../sandbox/sns/message.ts'
import type { Job } from '../src/schemas.ts'
import { makeDataDir } from './data-dir.ts'
import { startFront } from './outside/front.ts'
import { startProcess, until } from './process.ts'

t.setTimeout(120_000)
/** The names that the service has from AWS and Akamai, and nothing of an emulator. */
const hosts = { sns: 'sns.us-east-1.amazonaws.com', s3: 's3.us-east-1.amazonaws.com', netstorage: 'example-nsu.akamaihd.net', fastPurge: 'akab-example.purge.akamaiapis.net' }
const ours = new Set(Object.values(hosts).map(host => `${host}:443`))
const theirTopic = 'arn:aws:sns:us-east-1:999999999999:theirs'

const dataDir = await makeDataDir(t)
const dir = mkdtempSync(join(tmpdir(), 'edgeferry-production-'))
const sandbox = await startSandbox({}, { publicOrigin: `https://${hosts.sns}`, retryScale: 0.005, signatureVersion: 'mixed' }, { scheme: 'https' })
const { s3, sns, netstorage, fastPurge } = sandbox
sns.topics.add(theirTopic)
const portOf = (origin: string) => Number(new URL(origin).port)
const front = await startFront({ [hosts.sns]: sns.port, [hosts.s3]: portOf(s3.origin), [hosts.netstorage]: portOf(netstorage.origin), [hosts.fastPurge]: fastPurge.port })
const authorities = join(dir, 'authorities.pem')
const log = join(dir, 'connections')
writeFileSync(authorities, front.pem)
writeFileSync(log, '')
const { AWS_ENDPOINT_URL_SNS: emulator, ...variables } = sandbox.env
const env = {
  ...variables,
  NODE_ENV: 'production',
  NODE_EXTRA_CA_CERTS: authorities,
  AWS_ENDPOINT_URL_S3: `https://${hosts.s3}`,
  NS_HOSTNAME: hosts.netstorage,
  AO_API_HOST: hosts.fastPurge,
  PURGE_DELAY_SECONDS: '0',
  PURGE_REPEAT_SECONDS: '0',
  DATA_DIR: dataDir,
  DETOUR_LOG: log,
  DETOUR_PORT: String(front.port)
}
const service = startProcess(env, { before: new URL('outside/detour.ts', import.meta.url) })
t.teardown(async () => {
  service.kill('SIGKILL')
  await service.exited
  await Promise.all([front.close(), sandbox.close()])
  rmSync(dir, { recursive: true })
})
const origin = await service.origin

/** Every connection the service has opened so far. */
const connections = () => readFileSync(log, 'utf8').split('\n').filter(line => line !== '')
const jobs = async (key: string) => (await (await fetch(`${origin}/jobs?bucket=${bucket}&key=${encodeURIComponent(key)}`)).json() as { items: Job[] }).items
const stored = (key: string) => netstorage.store.get(`/${cpCode}/${key}`)

/** A POST as anyone can send it. */
async function post (fields: Record<string, unknown>, headers: Record<string, string> = {}): Promise<{ status: number, code?: string }> {
  const answer = await fetch(`${origin}/sns`, { method: 'POST', headers: { 'content-type': 'text/plain; charset=UTF-8', ...headers }, body: bodyOf(fields) })
  const text = await answer.text()
  return { status: answer.status, ...(text.startsWith('{') ? JSON.parse(text) as { code: string } : {}) }
}
const event = (key: string) => JSON.stringify({ Records: [{ eventVersion: '2.1', eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: { bucket: { name: bucket }, object: { key, size: 1, sequencer: randomBytes(8).toString('hex').toUpperCase() } } }] })
const notification = (more: Fields = {}): Fields => ({ Type: 'Notification', MessageId: randomUUID(), TopicArn: topicArn, Message: event('forged.js'), Timestamp: new Date().toISOString(), ...more })
const confirmation = (more: Fields = {}): Fields => {
  const token = randomBytes(20).toString('hex')
  const arn = more['TopicArn'] ?? topicArn
  return { Type: 'SubscriptionConfirmation', MessageId: randomUUID(), Token: token, TopicArn: arn, Message: 'You have chosen to subscribe.', SubscribeURL: `https://${hosts.sns}/?Action=ConfirmSubscription&TopicArn=${arn}&Token=${token}`, Timestamp: new Date().toISOString(), ...more }
}

/** Who owns a topic in the region has SNS sign any text, and cuts it into other members: here, into a message of our topic. */
function splice (): Fields {
  const signedText = sns.sign(notification({ TopicArn: theirTopic, Message: `${event('forged.js')}\nMessageId\n${randomUUID()}\nTimestamp\n${new Date().toISOString()}\nTopicArn\n${topicArn}\nType\nNotification` }))
  const [message = '', , messageId = '', , timestamp = '', , topic = '', , type = ''] = signedText['Message']?.split('\n') ?? []
  return { ...signedText, Message: message, MessageId: messageId, Timestamp: timestamp, TopicArn: topic, Type: `${type}\nMessageId\n${signedText['MessageId']}\nTimestamp\n${signedText['Timestamp']}\nTopicArn\n${theirTopic}\nType\nNotification` }
}

t.test('a setting for emulators is refused', async t => {
  const refused = startProcess({ ...env, AWS_ENDPOINT_URL_SNS: emulator })
  t.equal(await refused.exited, 1)
  t.match(refused.output(), /AWS_ENDPOINT_URL_SNS is for emulators only and refused when NODE_ENV=production/)
})

t.test('what nobody may ask for makes the service open no connection at all', async t => {
  const genuine = sns.sign(notification())
  const { SigningCertURL: url = '' } = genuine
  const id = url.slice(url.lastIndexOf('/'))
  const spliced = splice()
  const table: Array<[string, Record<string, unknown>, number, Record<string, string>?]> = [
    ['the message of a topic that is another\'s', sns.sign(notification({ TopicArn: theirTopic })), 403],
    ['its subscription', sns.sign(confirmation({ TopicArn: theirTopic })), 403],
    ['a topic that only looks like ours', sns.sign(notification({ TopicArn: `${topicArn}-2` })), 403],
    ['the name of ours in other letters', sns.sign(notification({ TopicArn: topicArn.toUpperCase() })), 403],
    ['a list for a name', { ...genuine, TopicArn: [topicArn] }, 400],
    ['a text that was cut into other members', spliced, 400],
    ['a message from before', sns.sign(notification({ Timestamp: new Date(Date.now() - 3 * 3600_000).toISOString() })), 403],
    ['one from the future', sns.sign(notification({ Timestamp: new Date(Date.now() + 3600_000).toISOString() })), 403],
    ['raw delivery, which anyone can write', notification(), 400, { 'x-amz-sns-rawdelivery': 'true', 'x-amz-sns-message-type': 'Notification', 'x-amz-sns-topic-arn': topicArn }],
    ['headers of another message', genuine, 400, { 'x-amz-sns-message-id': randomUUID() }],
    ...[
      `http://${hosts.sns}${id}`, `https://${hosts.sns}:8443${id}`, `https://${hosts.sns}.evil.example${id}`, `https://evil.example/${hosts.sns}${id}`,
      `https://${hosts.sns}@evil.example${id}`, `https://user@${hosts.sns}${id}`, `https://sns.eu-west-1.amazonaws.com${id}`, `https://sns.s3-us-west-2.amazonaws.com${id}`,
      `https://169.254.169.254${id}`, `https://127.0.0.1:${new URL(origin).port}${id}`, `https://${hosts.sns}/a/..${id}`, `https://${hosts.sns}${id}?x`, `https://${hosts.sns}${id}#x`,
      `https://${hosts.sns}\t${id}`, `https://${hosts.sns}\n${id}`, `https://${hosts.sns.toUpperCase()}${id}`, `https://${hosts.sns}${id.toUpperCase()}`, `https://${hosts.sns}/x.pem`, `file://${hosts.sns}${id}`, ` ${url}`
    ].map((SigningCertURL): [string, Record<string, unknown>, number] => [`a certificate at ${JSON.stringify(SigningCertURL)}`, { ...genuine, SigningCertURL }, 403])
  ]
  const before = connections()
  for (const [what, fields, status, headers] of table) t.equal((await post(fields, headers)).status, status, what)
  t.same(connections(), before)
  t.same(await jobs('forged.js'), [])
})

t.test('a subscription is confirmed at the host that AWS has, and a change travels all the way', async t => {
  const subscription = sandbox.subscribe(origin)
  await subscription.confirmed
  await s3.put(bucket, 'a b.css', 'body {}')
  await until(async () => (await jobs('a b.css'))[0]?.state === 'succeeded', 'it is purged', 60_000, 50)
  t.equal(stored('a b.css')?.sizeBytes, 7)
  t.match(fastPurge.purges().at(-1), { action: 'invalidate', network: 'production' })
  await s3.delete(bucket, 'a b.css')
  await until(async () => { const [job] = await jobs('a b.css'); return job?.outcome === 'deleted' && job.state === 'succeeded' }, 'it is gone', 60_000, 50)
  t.equal(stored('a b.css'), undefined)
  t.same(new Set(connections()), ours)
})

t.test('what comes from the right place is still not believed without proof', async t => {
  const unknown = { ...sns.sign(notification()), SigningCertURL: `https://${hosts.sns}/SimpleNotificationService-${'0'.repeat(32)}.pem` }
  t.match(await post(unknown), { status: 503, code: 'sns_unverifiable' }, 'a certificate that is not there: SNS is to come again')
  const genuine = sns.sign(notification())
  t.match(await post({ ...genuine, Message: event('else.js') }), { status: 403 }, 'another text under the signature')
  t.match(await post({ ...splice(), Type: 'Notification' }), { status: 403 }, 'a text that was cut into other members')
  t.match(await post({ ...genuine, Signature: randomBytes(256).toString('base64') }), { status: 403 })
  const instead = sns.faults.add({ match: { action: 'Certificate' }, status: 302, headers: { Location: 'http://169.254.169.254/latest/meta-data/' } })
  await sns.renewCertificate()
  t.match(await post(sns.sign(notification())), { status: 503 }, 'a redirect is not followed')
  instead()
  for (const certificate of [{ names: ['sns.example.com'] }, { names: ['sns.eu-west-1.amazonaws.com'] }, { bits: 1024 }, { notAfter: new Date(Date.now() - 1000) }]) {
    await sns.renewCertificate(certificate)
    t.equal((await post(sns.sign(notification()))).status, 403, JSON.stringify(certificate))
  }
  await sns.renewCertificate()
  t.same(await jobs('forged.js'), [])
  t.same(new Set(connections()), ours)
})

t.test('no URL of a message is ever visited', async t => {
  const metadata = 'http://169.254.169.254/latest/meta-data/'
  const visits = () => sns.log.length
  for (const SubscribeURL of [metadata, `https://${hosts.sns}/?Action=Publish&TopicArn=${topicArn}&Message=x`, `https://${hosts.sns}.evil.example/?Action=ConfirmSubscription`]) {
    t.match(await post(sns.sign(confirmation({ SubscribeURL }))), { status: 403 }, SubscribeURL)
  }
  await s3.put(bucket, 'kept.js', 'x')
  await until(async () => (await jobs('kept.js'))[0]?.state === 'succeeded', 'events still come', 60_000, 50)
  const deliveries = visits()
  t.match(await post({ ...sns.sign(notification({ Message: event('kept.js') })), UnsubscribeURL: sns.subscriptions.map(each => `https://${hosts.sns}/?Action=Unsubscribe&SubscriptionArn=${each.arn}`)[0], MessageAttributes: { url: { Type: 'String', Value: metadata } } }), { status: 200 })
  // SNS tells that a subscription has ended; the URL in that would start it again.
  const [subscription] = sns.subscriptions
  sns.unsubscribe(subscription?.arn ?? '')
  await sns.idle()
  t.equal(visits(), deliveries + 1)
  t.match(sns.log.at(-1), { type: 'UnsubscribeConfirmation', status: 200 })
  t.equal(subscription?.state, 'deleted')
  t.same(new Set(connections()), ours)
})

t.test('a server that cannot prove to be AWS is not believed', async t => {
  const impostor = await startFront({ [hosts.sns]: sns.port })
  t.teardown(async () => { await impostor.close() })
  const deceived = startProcess({ ...env, DATA_DIR: await makeDataDir(t), DETOUR_PORT: String(impostor.port) }, { before: new URL('outside/detour.ts', import.meta.url) })
  const answer = await fetch(`${await deceived.origin}/sns`, { method: 'POST', body: bodyOf(sns.sign(notification())) })
  t.equal(answer.status, 503)
  await until(() => deceived.output().includes('certificate_unreachable'), 'the log says why')
  t.same(impostor.asked, [])
  deceived.kill('SIGTERM')
  await deceived.exited
})
