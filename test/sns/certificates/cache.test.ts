import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import t from 'tap'
import { createCertificates, type CertificatesOptions } from '../../../src/sns/certificates/cache.ts'
import { parseTopicArn, type Topic } from '../../../src/sns/topic.ts'
import { certificates as pems, policy, refusalOf } from '../vectors.ts'

const topic = parseTopicArn(policy.allowedTopicArns[0] ?? '') as Topic
const origin = 'https://sns.us-east-1.amazonaws.com'
const url = (number: number) => `${origin}/SimpleNotificationService-${number.toString(16).padStart(32, '0')}.pem`

/** Certificates with a clock that is set by hand, over an AWS that answers what `serve` says. */
function open (options: Partial<CertificatesOptions> = {}) {
  const state = { now: Date.parse(policy.clock), asked: [] as string[], serve: async (): Promise<string> => pems.commercial }
  const certificates = createCertificates({
    now: () => new Date(state.now),
    fetchCertificate: async (each) => {
      state.asked.push(each)
      return await state.serve()
    },
    ...options
  })
  return { state, find: async (each: string) => await certificates.findKey(each, topic), refuse: async (each: string) => (await refusalOf(async () => await certificates.findKey(each, topic))).reason }
}

t.test('a certificate is fetched once, however many wait for it', async (t) => {
  const { state, find } = open()
  const arrived = Promise.withResolvers<string>()
  state.serve = async () => await arrived.promise
  const waiting = Promise.all(Array.from({ length: 50 }, async () => await find(url(1))))
  arrived.resolve(pems.commercial)
  const keys = await waiting
  t.equal(state.asked.length, 1)
  t.equal(new Set(keys).size, 1)
  await find(url(1))
  t.equal(state.asked.length, 1)
})

t.test('a failure is shared by those who wait, and kept for nobody', async (t) => {
  const { state, find, refuse } = open()
  state.serve = async () => { throw new Error('no route') }
  t.same(await Promise.all([refuse(url(1)), refuse(url(1))]), ['certificate_unreachable', 'certificate_unreachable'])
  t.equal(state.asked.length, 1)
  state.serve = async () => '<html>'
  t.equal(await refuse(url(1)), 'not_a_certificate')
  state.serve = async () => pems.commercial
  await find(url(1))
  t.equal(state.asked.length, 3)
})

t.test('what the network said stays with the refusal, for the log', async (t) => {
  const cause = new Error('no route')
  const certificates = createCertificates({ now: () => new Date(policy.clock), fetchCertificate: async () => { throw cause } })
  const refusal = await refusalOf(async () => await certificates.findKey(url(1), topic))
  t.equal(refusal.cause, cause)
  t.ok(refusal.retryable)
})

t.test('a certificate is kept for a day, and no longer than it is valid', async (t) => {
  const { state, find, refuse } = open()
  await find(url(1))
  state.now += 24 * 3600_000 - 1
  await find(url(1))
  t.equal(state.asked.length, 1)
  state.now += 1
  await find(url(1))
  t.equal(state.asked.length, 2)

  const end = Date.parse(new X509Certificate(pems.commercial).validTo)
  state.now = end - 1000
  await find(url(2))
  state.now = end + 1
  t.equal(await refuse(url(2)), 'certificate_expired')
  t.equal(state.asked.length, 4, 'asked again at its end')
})

t.test('of too many certificates the least recently used goes', async (t) => {
  const { state, find } = open({ maxCertificates: 3, maxUnknownPerMinute: 1 })
  for (const number of [1, 2, 3]) await find(url(number))
  await find(url(1))
  await find(url(4))
  for (const number of [1, 3, 4]) await find(url(number))
  t.equal(state.asked.length, 4)
  await find(url(2))
  t.equal(state.asked.length, 5)
})

t.test('a stranger cannot make the service fetch without end', async (t) => {
  const { state, find, refuse } = open({ maxUnknownPerMinute: 3 })
  await find(url(100))
  state.serve = async () => { throw new Error('404') }
  for (const number of [1, 2, 3]) t.equal(await refuse(url(number)), 'certificate_unreachable')
  t.equal(await refuse(url(4)), 'too_many_certificates')
  t.equal(await refuse(url(1)), 'certificate_unreachable', 'one that was counted may be tried again')
  t.equal(state.asked.length, 5)

  state.serve = async () => pems.commercial
  await find(url(100))
  state.now += 59_999
  t.equal(await refuse(url(4)), 'too_many_certificates')
  state.now += 1
  await find(url(4))
})

t.test('a URL that was good before is fetched again, whatever strangers do', async (t) => {
  const { state, find, refuse } = open({ maxUnknownPerMinute: 1 })
  await find(url(100))
  state.now += 24 * 3600_000
  state.serve = async () => { throw new Error('404') }
  t.equal(await refuse(url(1)), 'certificate_unreachable')
  t.equal(await refuse(url(2)), 'too_many_certificates')
  state.serve = async () => pems.commercial
  await find(url(100))
})

t.test('only the certificate of SNS in this region will do, while it is valid', async (t) => {
  const ecdsa = rootCertificates.find((pem) => new X509Certificate(pem).publicKey.asymmetricKeyType === 'ec') ?? ''
  for (const [pem, reason] of [
    [pems.wrongname, 'certificate_of_another'], [pems.optin, 'certificate_of_another'], [pems.expired, 'certificate_expired'],
    [pems.future, 'certificate_not_yet_valid'], [ecdsa, 'certificate_key_too_weak']
  ] as const) {
    const { state, refuse } = open()
    state.serve = async () => pem
    t.equal(await refuse(url(1)), reason)
    t.equal(await refuse(url(1)), reason)
    t.equal(state.asked.length, 2, 'not kept')
  }
})

t.test('a file holds one certificate and nothing else', async (t) => {
  for (const text of ['', 'hello', pems.commercial + pems.commercial, `x${pems.commercial}`, `${pems.commercial}x`, pems.commercial.replace('BEGIN CERTIFICATE', 'BEGIN TRUSTED CERTIFICATE'), pems.commercial.replace(/\n[A-Za-z0-9]{64}/, '\nAAAA')]) {
    const { state, refuse } = open()
    state.serve = async () => text
    t.equal(await refuse(url(1)), 'not_a_certificate', text.slice(0, 30))
  }
  const { state, find } = open()
  state.serve = async () => pems.commercial.replaceAll('\n', '\r\n')
  await find(url(1))
})

t.test('the URL is equal to the one form it can have', async (t) => {
  const { state, refuse } = open()
  const id = '0'.repeat(32)
  for (const bad of [
    '', 'https:', url(1).toUpperCase(), `${url(1)}?x`, `${url(1)}#x`, `${url(1)} `, `${url(1)}\n`, url(1).replace('.com/', '.com:443/'),
    url(1).replace('https://', 'https://user@'), `${origin}/SimpleNotificationService-${id.slice(1)}.pem`, `${origin}/SimpleNotificationService-${id}0.pem`,
    `${origin}/SimpleNotificationService-${id.slice(1)}A.pem`, `${origin}//SimpleNotificationService-${id}.pem`, `http://sns.us-east-1.amazonaws.com/SimpleNotificationService-${id}.pem`
  ]) t.equal(await refuse(bad), 'bad_certificate_url', JSON.stringify(bad))
  t.equal(state.asked.length, 0)
})

t.test('a stop ends what is under way', async (t) => {
  const stop = new AbortController()
  const certificates = createCertificates({
    now: () => new Date(policy.clock),
    fetchCertificate: async (_, signal) => await new Promise((_resolve, reject) => { signal?.addEventListener('abort', () => reject(new Error('stopping'))) }),
    signal: stop.signal
  })
  const refused = refusalOf(async () => await certificates.findKey(url(1), topic))
  stop.abort()
  t.equal((await refused).reason, 'certificate_unreachable')
})
