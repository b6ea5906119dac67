import type { IncomingHttpHeaders } from 'node:http'
import { quote, SnsRefusal } from './refusal.ts'

interface Common {
  messageId: string
  topicArn: string
  /** What was published; for S3 a JSON document as text. */
  message: string
  /** When it was published, as it was written and signed. */
  timestamp: string
  signatureVersion: '1' | '2'
  /** Base64. */
  signature: string
  signingCertUrl: string
}

interface Confirmation extends Common {
  token: string
  subscribeUrl: string
}

/**
 * A message whose shape is good, and nothing else: who sent it is not known. `MessageAttributes` and `UnsubscribeURL` are
 * not signed, so they are left out.
 */
export type SnsMessage =
  | Common & { type: 'Notification', subject?: string }
  | Confirmation & { type: 'SubscriptionConfirmation' }
  | Confirmation & { type: 'UnsubscribeConfirmation' }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/

/**
 * Reads the body of a POST from SNS. Strict, because the text that SNS signs can be cut into members in several ways:
 * line ends are allowed in `Message` only, and every other member must have its one form. Throws an SnsRefusal of the
 * stage `shape`.
 */
export function parseMessage (body: Uint8Array | string, headers: IncomingHttpHeaders = {}): SnsMessage {
  if (headers['x-amz-sns-rawdelivery'] === 'true') {
    throw new SnsRefusal('raw_delivery', 'The message came by raw delivery, which signs nothing. Turn RawMessageDelivery off on the subscription.')
  }
  const members = readObject(body)
  const type = read(members, 'Type')
  if (type !== 'Notification' && type !== 'SubscriptionConfirmation' && type !== 'UnsubscribeConfirmation') {
    throw new SnsRefusal('unknown_type', `The message has the Type ${quote(type)}, which SNS does not send.`)
  }
  const signatureVersion = read(members, 'SignatureVersion')
  if (signatureVersion !== '1' && signatureVersion !== '2') {
    throw new SnsRefusal('unknown_signature_version', `The message has the SignatureVersion ${quote(signatureVersion)}; only 1 and 2 are known.`)
  }
  const common: Common = {
    messageId: readLine(members, 'MessageId'),
    topicArn: readLine(members, 'TopicArn'),
    message: read(members, 'Message'),
    timestamp: readLine(members, 'Timestamp'),
    signatureVersion,
    signature: read(members, 'Signature'),
    signingCertUrl: read(members, 'SigningCertURL')
  }
  if (!uuid.test(common.messageId)) throw new SnsRefusal('bad_message_id', `The MessageId ${quote(common.messageId)} is not a UUID.`)
  compareHeaders(headers, type, common)
  if (type === 'Notification') return { type, ...common, ...(Object.hasOwn(members, 'Subject') ? { subject: readLine(members, 'Subject') } : {}) }
  const token = readLine(members, 'Token')
  if (!/^[0-9A-Za-z]+$/.test(token)) throw new SnsRefusal('bad_token', 'The Token is not made of letters and digits only.')
  return { type, ...common, token, subscribeUrl: readLine(members, 'SubscribeURL') }
}

function readObject (body: Uint8Array | string): object {
  const value = parseJson(typeof body === 'string' ? body : decode(body))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SnsRefusal('not_an_object', 'The body is JSON, but not one object.')
  // JSON.parse makes it an own member; whoever copies the object later would set a prototype by it.
  if (Object.hasOwn(value, '__proto__')) throw new SnsRefusal('forbidden_member', 'The message has a member "__proto__", which SNS does not send.')
  return value
}

function decode (bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw new SnsRefusal('not_utf8', 'The body is not UTF-8.', { cause })
  }
}

/** The error of JSON.parse quotes the text, which may hold a token: it is not kept as a cause. */
function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new SnsRefusal('not_json', 'The body is not JSON.')
  }
}

/** A required member: an own, non-empty string that has a UTF-8 form, so that no two texts are signed alike. */
function read (members: object, name: string): string {
  const value: unknown = Object.hasOwn(members, name) ? members[name as keyof typeof members] : undefined
  if (typeof value !== 'string' || value === '') throw new SnsRefusal('missing_member', `The message has no ${name}, or one that is not a text.`)
  if (!value.isWellFormed()) throw new SnsRefusal('lone_surrogate', `The member ${name} holds a lone surrogate, which has no UTF-8 form.`)
  return value
}

/** A required member without control characters: a line end in it could hide another member. */
function readLine (members: object, name: string): string {
  const value = read(members, name)
  if (control.test(value)) throw new SnsRefusal('control_character', `The member ${name} holds a control character.`)
  return value
}

/** The headers are not signed and decide nothing; but where they differ from the body, somebody mixed two messages. */
function compareHeaders (headers: IncomingHttpHeaders, type: string, { messageId, topicArn }: Common): void {
  const pairs = [['x-amz-sns-message-type', type], ['x-amz-sns-message-id', messageId], ['x-amz-sns-topic-arn', topicArn]] as const
  for (const [name, value] of pairs) {
    if (headers[name] !== undefined && headers[name] !== value) throw new SnsRefusal('header_mismatch', `The header ${name} differs from the body.`)
  }
}
