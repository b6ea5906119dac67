import { createHash, generateKeyPair, randomBytes, sign, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

/** What a signing certificate says. */
export interface CertificateOptions {
  /** The first is the common name, all are alternative names. */
  names?: string[]
  notBefore?: Date
  notAfter?: Date
  /** Bits of the RSA key. */
  bits?: number
}

/** A key to sign with, and the certificate that vouches for it. */
export interface SigningIdentity {
  privateKey: KeyObject
  pem: string
  /** Where AWS would serve it: 32 hex digits that change with each renewal. */
  path: string
}

const day = 86_400_000
const tags = { boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, sequence: 0x30, set: 0x31, utcTime: 0x17, generalTime: 0x18 }

/** One element: its tag, its length, its contents in a row. */
function der (tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...contents: Buffer[]): Buffer => der(tags.sequence, ...contents)

/** Object identifiers: the first two numbers share a byte, the others are base 128 with a continuation bit. */
function oid (dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const number of rest) {
    const digits = [number & 0x7f]
    for (let left = number >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80)
    bytes.push(...digits)
  }
  return der(tags.oid, Buffer.from(bytes))
}

const commonName = (name: string): Buffer => sequence(der(tags.set, sequence(oid('2.5.4.3'), der(tags.utf8, Buffer.from(name)))))

/** X.509 writes years before 2050 with two digits. */
function time (date: Date): Buffer {
  const text = date.toISOString().replace(/\.\d+|[-:T]/g, '')
  return date.getUTCFullYear() < 2050 ? der(tags.utcTime, Buffer.from(text.slice(2))) : der(tags.generalTime, Buffer.from(text))
}

function extension (id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [der(tags.boolean, Buffer.from([0xff]))] : []), der(tags.octets, value))
}

/** A new RSA key with a certificate like the one SNS signs by: a leaf for servers, here of an authority nobody knows. */
export async function makeSigningIdentity (options: CertificateOptions, nowMs: number): Promise<SigningIdentity> {
  const { names = ['sns.amazonaws.com'], notBefore = new Date(nowMs - 30 * day), notAfter = new Date(nowMs + 335 * day), bits = 2048 } = options
  const { publicKey, privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: bits })
  const sha256WithRsa = sequence(oid('1.2.840.113549.1.1.11'), der(0x05))
  const certified = sequence(
    der(0xa0, der(tags.integer, Buffer.from([2]))),
    der(tags.integer, Buffer.concat([Buffer.from([0x01]), randomBytes(15)])),
    sha256WithRsa,
    commonName('Sandbox RSA 2048'),
    sequence(time(notBefore), time(notAfter)),
    commonName(names[0] ?? ''),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(
      extension('2.5.29.17', false, sequence(...names.map(name => der(0x82, Buffer.from(name))))),
      extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
      extension('2.5.29.19', true, sequence())
    ))
  )
  const certificate = sequence(certified, sha256WithRsa, der(tags.bits, Buffer.from([0]), sign('sha256', certified, privateKey)))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return {
    privateKey,
    pem: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
    path: `/SimpleNotificationService-${createHash('md5').update(certificate).digest('hex')}.pem`
  }
}
