import { generateKeyPairSync, setFips, X509Certificate } from 'node:crypto'
import t from 'tap'
import { parseMessage } from '../../src/sns/message.ts'
import { canonicalText, verifySignature } from '../../src/sns/signature.ts'
import { certificates, refusalOf, vector } from './vectors.ts'

const { publicKey } = new X509Certificate(certificates.commercial)
const genuine = (id = 'ok-n-v2') => parseMessage(vector(id).body)

t.test('the signed text is names and values in a fixed order, each ended by a line feed', async (t) => {
  const { Message, MessageId, SubscribeURL, Timestamp, Token, TopicArn, Type } = JSON.parse(vector('ok-unsub-v1').body)
  t.equal(canonicalText(genuine('ok-unsub-v1')), ['Message', Message, 'MessageId', MessageId, 'SubscribeURL', SubscribeURL, 'Timestamp', Timestamp, 'Token', Token, 'TopicArn', TopicArn, 'Type', Type, ''].join('\n'))
  t.match(canonicalText(genuine('ok-n-v2-subject')), /\nSubject\nAmazon S3 Notification\nTimestamp\n/)
  t.notMatch(canonicalText(genuine()), /Subject/)
})

t.test('base64 has one form only', async (t) => {
  const { signature } = genuine()
  const url = signature.replaceAll('+', '-').replaceAll('/', '_')
  t.not(url, signature)
  // The last letter before the padding carries bits that decode to nothing.
  const stray = `${signature.slice(0, -3)}${signature.at(-3) === 'A' ? 'B' : String.fromCharCode(signature.charCodeAt(signature.length - 3) + 1)}==`
  for (const bad of [url, `${signature} `, `${signature.slice(0, 76)}\n${signature.slice(76)}`, signature.replace(/=+$/, ''), `${signature}====`, stray, '!!']) {
    t.equal((await refusalOf(() => verifySignature({ ...genuine(), signature: bad }, publicKey))).reason, 'signature_not_base64', bad.slice(-12))
  }
})

t.test('a signature is as long as its key', async (t) => {
  for (const bytes of [0, 255, 257, 512]) {
    const signature = Buffer.alloc(bytes).toString('base64')
    t.equal((await refusalOf(() => verifySignature({ ...genuine(), signature }, publicKey))).reason, 'signature_of_wrong_length', `${bytes}`)
  }
  const ecdsa = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
  t.equal((await refusalOf(() => verifySignature(genuine(), ecdsa))).reason, 'signature_of_wrong_length')
})

t.test('version 1 can be refused, and version 2 passes all the same', async (t) => {
  t.doesNotThrow(() => verifySignature(genuine('ok-n-v1'), publicKey))
  const refusal = await refusalOf(() => verifySignature(genuine('ok-n-v1'), publicKey, { acceptSignatureV1: false }))
  t.equal(refusal.reason, 'signature_version_refused')
  t.match(refusal.message, /SignatureVersion to 2/)
  t.doesNotThrow(() => verifySignature(genuine(), publicKey, { acceptSignatureV1: false }))
})

t.test('an OpenSSL without the digest is a fault of this machine: the message may come again', async (t) => {
  setFips(true)
  const refusal = await refusalOf(() => verifySignature(genuine('ok-n-v1'), publicKey)).finally(() => setFips(false))
  t.equal(refusal.reason, 'digest_unavailable')
  t.equal(refusal.statusCode, 503)
  t.match(refusal.message, /FIPS/)
})
