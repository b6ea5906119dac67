import { verify, type KeyObject } from 'node:crypto'
import type { SnsMessage } from './message.ts'
import { SnsRefusal } from './refusal.ts'

export interface SignatureOptions {
  /** Whether RSA with SHA-1, which SNS uses unless the topic's attribute SignatureVersion is 2, will do (true). */
  acceptSignatureV1?: boolean
}

/**
 * The text that SNS signs: name and value of each signed member in a fixed order, each on its line, as the SNS developer
 * guide gives it. It can be cut into members in several ways: sign only what `parseMessage` let through.
 */
export function canonicalText (message: SnsMessage): string {
  const members: Array<[string, string | undefined]> = message.type === 'Notification'
    ? [['Message', message.message], ['MessageId', message.messageId], ['Subject', message.subject], ['Timestamp', message.timestamp], ['TopicArn', message.topicArn], ['Type', message.type]]
    : [['Message', message.message], ['MessageId', message.messageId], ['SubscribeURL', message.subscribeUrl], ['Timestamp', message.timestamp], ['Token', message.token], ['TopicArn', message.topicArn], ['Type', message.type]]
  return members.map(([name, value]) => value === undefined ? '' : `${name}\n${value}\n`).join('')
}

/** Checks the signature of a message against the key of its certificate. Throws an SnsRefusal of the stage `signature`. */
export function verifySignature (message: SnsMessage, publicKey: KeyObject, { acceptSignatureV1 = true }: SignatureOptions = {}): void {
  if (message.signatureVersion === '1' && !acceptSignatureV1) {
    throw new SnsRefusal('signature_version_refused', 'The message is signed with SHA-1, which this service was told to refuse. Set the topic attribute SignatureVersion to 2.')
  }
  const signature = decodeBase64(message.signature)
  if (signature === undefined) throw new SnsRefusal('signature_not_base64', 'The Signature is not base64.')
  const expectedBytes = (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  if (signature.length !== expectedBytes) {
    throw new SnsRefusal('signature_of_wrong_length', `The Signature has ${signature.length} bytes, and the key of the certificate makes ${expectedBytes}.`)
  }
  if (!check(message, publicKey, signature)) throw new SnsRefusal('signature_mismatch', 'The Signature is not that of this message.')
}

function check (message: SnsMessage, publicKey: KeyObject, signature: Buffer): boolean {
  try {
    return verify(message.signatureVersion === '1' ? 'sha1' : 'sha256', Buffer.from(canonicalText(message), 'utf8'), publicKey, signature)
  } catch (cause) {
    throw new SnsRefusal('digest_unavailable', `This machine's OpenSSL cannot check a signature of version ${message.signatureVersion} (FIPS mode refuses SHA-1). Set the topic attribute SignatureVersion to 2.`, { cause })
  }
}

/** Strict, unlike Buffer: no other alphabet, no white space, no missing padding, no stray bits. */
function decodeBase64 (text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
