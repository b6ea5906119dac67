import { sign, type KeyObject } from 'node:crypto'

/** The kinds of message SNS posts. */
export type MessageType = 'Notification' | 'SubscriptionConfirmation' | 'UnsubscribeConfirmation'

/** The members of a message; all but MessageAttributes are strings. */
export type Fields = Record<string, string>

/** `1` = SHA-1, `2` = SHA-256, both with RSA PKCS#1 v1.5. */
export type SignatureVersion = '1' | '2'

const inNotification = ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type']
const inConfirmation = ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type']

/** What SNS signs: names and values on lines of their own, in this order, the absent left out. Nothing is escaped. */
export function textToSign (fields: Fields): string {
  const names = fields.Type?.endsWith('Confirmation') === true ? inConfirmation : inNotification
  return names.filter(name => fields[name] !== undefined).map(name => `${name}\n${fields[name]}\n`).join('')
}

/** The message with its three members about the signature. */
export function signFields (fields: Fields, version: SignatureVersion, privateKey: KeyObject, certificateUrl: string): Fields {
  const signature = sign(version === '1' ? 'sha1' : 'sha256', Buffer.from(textToSign(fields)), privateKey)
  return { ...fields, SignatureVersion: version, Signature: signature.toString('base64'), SigningCertURL: certificateUrl }
}

const order = ['Type', 'MessageId', 'Token', 'TopicArn', 'Subject', 'Message', 'SubscribeURL', 'Timestamp', 'SignatureVersion', 'Signature', 'SigningCertURL', 'UnsubscribeURL', 'MessageAttributes']

/** The body as SNS writes it, with blanks around the colons and one member a line. */
export function bodyOf (fields: Record<string, unknown>): string {
  const names = [...order.filter(name => name in fields), ...Object.keys(fields).filter(name => !order.includes(name))]
  return `{\n${names.map(name => `  ${JSON.stringify(name)} : ${JSON.stringify(fields[name])}`).join(',\n')}\n}`
}
