import { X509Certificate, type KeyObject } from 'node:crypto'
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

/** A certificate as messages are checked against it: read once, since each look at an X509Certificate parses it anew. */
export interface SigningCertificate {
  key: KeyObject
  /** Throws an SnsRefusal of the stage `certificate` if it may not vouch for messages of a topic now. */
  check: (topic: Topic, now: Date) => void
  /** Epoch milliseconds. */
  validTo: number
}

/**
 * What a certificate may vouch for: its name, its dates and the strength of its key decide. Its chain is not looked at:
 * it came over TLS from the one host that is allowed.
 */
export function readCertificate (certificate: X509Certificate): SigningCertificate {
  const key = certificate.publicKey
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  const isStrong = asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) >= leastKeyBits
  const [validFrom, validTo] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  const named = new Map<string, boolean>()
  function isOf (topic: Topic): boolean {
    const names = certificateNamesOf(topic)
    const place = names.join()
    const found = named.get(place) ?? names.some(name => certificate.checkHost(name, { subject: 'always', wildcards: false }) !== undefined)
    named.set(place, found)
    return found
  }
  return {
    key,
    validTo,
    check (topic, now) {
      if (!isStrong) throw new SnsRefusal('certificate_key_too_weak', `The key of the certificate is not RSA of at least ${leastKeyBits} bits.`)
      if (now.getTime() < validFrom) throw new SnsRefusal('certificate_not_yet_valid', `The certificate is valid from ${certificate.validFrom} on. If that is past, the clock of this machine is wrong.`)
      if (now.getTime() > validTo) throw new SnsRefusal('certificate_expired', `The certificate was valid until ${certificate.validTo}.`)
      if (!isOf(topic)) throw new SnsRefusal('certificate_of_another', `The certificate is not one of SNS in ${topic.region}: it must name ${certificateNamesOf(topic).join(' or ')}.`)
    }
  }
}
