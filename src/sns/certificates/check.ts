import { X509Certificate } from 'node:crypto'
import { SnsRefusal } from '../refusal.ts'
import { certificateNamesOf, type Topic } from '../topic.ts'

const onePem = /^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----$/
const leastKeyBits = 2048

/**
 * The one certificate a file holds. What is none comes from something that stands between, as a page of an error or a
 * login: it is worth another try.
 */
export function parseCertificate (pem: string): X509Certificate {
  try {
    if (!onePem.test(pem.trim())) throw new Error('not exactly one PEM block')
    return new X509Certificate(pem)
  } catch (cause) {
    throw new SnsRefusal('not_a_certificate', 'The certificate URL answered with something that is not exactly one certificate.', { cause })
  }
}

/**
 * Whether a certificate may vouch for messages of a topic now: its name, its dates, the strength of its key. Its chain is
 * not looked at: it came over TLS from the one host that is allowed. Throws an SnsRefusal of the stage `certificate`.
 */
export function checkCertificate (certificate: X509Certificate, topic: Topic, now: Date): void {
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
  if ((asymmetricKeyDetails?.modulusLength ?? 0) < leastKeyBits || asymmetricKeyType !== 'rsa') {
    throw new SnsRefusal('certificate_key_too_weak', `The key of the certificate is not RSA of at least ${leastKeyBits} bits.`)
  }
  if (now.getTime() < Date.parse(certificate.validFrom)) {
    throw new SnsRefusal('certificate_not_yet_valid', `The certificate is valid from ${certificate.validFrom} on. If that is past, the clock of this machine is wrong.`)
  }
  if (now.getTime() > Date.parse(certificate.validTo)) throw new SnsRefusal('certificate_expired', `The certificate was valid until ${certificate.validTo}.`)
  const names = certificateNamesOf(topic)
  if (!names.some((name) => certificate.checkHost(name, { subject: 'always', wildcards: false }) !== undefined)) {
    throw new SnsRefusal('certificate_of_another', `The certificate is not one of SNS in ${topic.region}: it must name ${names.join(' or ')}.`)
  }
}
