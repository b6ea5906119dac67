import { readFileSync } from 'node:fs'
import t from 'tap'
import { buildApp } from '../../../src/app.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'
import index from '../../fixtures/s3-events/index.json' with { type: 'json' }
import { atPolicyTime, createCertificateServer, policy, vectors } from '../../sns/vectors.ts'

const server = createCertificateServer()
const confirmed: string[] = []
const app = await buildApp(testConfig({
  DATA_DIR: await makeDataDir(t),
  S3_BUCKETS: index.config.buckets.join(),
  SNS_TOPIC_ARNS: policy.allowedTopicArns.join(),
  API_TOKENS: 'ceph:a-secret-for-the-events'
}), {
  now: atPolicyTime,
  fetchCertificate: server.fetchCertificate,
  confirmFetch: async url => {
    confirmed.push(String(url))
    return new Response('<ConfirmSubscriptionResponse/>')
  },
  logger: false
})
t.teardown(async () => { await app.close() })

t.test('each signed request gets its verdict at the front door', async t => {
  for (const { id, verdict, rejectAt, headers, body } of vectors) {
    const answer = await app.inject({ method: 'POST', url: '/sns', headers: headers as Record<string, string>, payload: body })
    if (verdict === 'accept') t.equal(answer.statusCode, 200, id)
    else {
      t.match(String(answer.statusCode), rejectAt === 'certificate' ? /^403$|^503$/ : /^40[03]$/, `${id}: ${answer.statusCode}`)
      t.match(answer.json().code, /^sns_/)
    }
  }
})

t.test('a subscription is confirmed at the topic\'s own region, an end of one never visited', async t => {
  t.ok(confirmed.length >= 2)
  t.ok(confirmed.every(url => url.startsWith('https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A111122223333%3Amedia-sync&Token=')))
})

const reachable = index.files.filter(({ transport }) => ['s3', 'eventbridge', 'minio-webhook', 'ceph-rgw'].includes(transport))

t.test('each payload gets its verdicts at the front door', async t => {
  for (const { file, records = [], action } of reachable as Array<{ file: string, records?: Array<{ action: string, duplicateOf?: number, staleAgainst?: number, key: string }>, action?: string }>) {
    const answer = await app.inject({
      method: 'POST',
      url: '/events?token=a-secret-for-the-events',
      payload: readFileSync(new URL(`../../fixtures/s3-events/${file}`, import.meta.url)),
      headers: { 'content-type': 'application/cloudevents+json; charset="' }
    })
    t.equal(answer.statusCode, 200, file)
    const { verdicts } = answer.json() as { verdicts: Record<string, number> }
    const { ignored = 0, rejected = 0, ...jobs } = verdicts
    const count = (...actions: string[]) => records.filter(record => actions.includes(record.action)).length
    // A whole message is judged by one word; NetStorage has no place for empty segments, which the index leaves open.
    if (records.length === 0) t.same({ ignored, rejected }, action === 'ignore' ? { ignored: 1, rejected: 0 } : { ignored: 0, rejected: 1 }, file)
    else {
      const unmappable = records.filter(record => record.action === 'upload' && /^\/|\/\//.test(record.key)).length
      t.same({ ignored, rejected, jobs: Object.values(jobs).reduce((a, b) => a + b, 0) }, { ignored: count('ignore'), rejected: count('reject') + unmappable, jobs: count('upload', 'delete') - unmappable }, file)
    }
  }
})

t.test('what cannot become a path is listed as failed, and a repeat of it adds nothing', async t => {
  const listed = async () => (await app.inject({ url: '/jobs?state=failed&limit=200', headers: { authorization: 'Bearer a-secret-for-the-events' } })).json().items as Array<{ error: { code: string } }>
  const before = await listed()
  t.ok(before.length > 0)
  t.ok(before.every(job => job.error.code === 'key_not_mappable'))
  await app.inject({ method: 'POST', url: '/events?token=a-secret-for-the-events', payload: readFileSync(new URL('../../fixtures/s3-events/53-key-dotdot.json', import.meta.url)) })
  t.equal((await listed()).length, before.length)
})

t.test('events need a token, wherever it stands', async t => {
  for (const [url, headers, status] of [
    ['/events', {}, 401],
    ['/events?token=wrong', {}, 401],
    ['/events', { authorization: 'Bearer a-secret-for-the-events' }, 200],
    ['/events', { authorization: `Basic ${Buffer.from('any:a-secret-for-the-events').toString('base64')}` }, 200]
  ] as const) t.equal((await app.inject({ method: 'POST', url, headers, payload: '{"Records":[]}' })).statusCode, status)
  t.equal((await app.inject({ method: 'HEAD', url: '/events' })).statusCode, 200)
})
