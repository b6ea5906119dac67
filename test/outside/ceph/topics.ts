import { createHash, createHmac } from 'node:crypto'
import { PutBucketNotificationConfigurationCommand, type S3Client } from '@aws-sdk/client-s3'
import type { Credentials } from './cluster.ts'

export interface Topic {
  name: string
  /** Where its events are posted to. */
  pushTo: string
  /** Whether the gateway keeps an event until it is taken. */
  persistent: boolean
}

/** Makes a topic by that part of SNS's API which the gateway speaks. Returns its ARN. */
export async function createTopic (origin: string, credentials: Credentials, { name, pushTo, persistent }: Topic): Promise<string> {
  const body = new URLSearchParams({ Action: 'CreateTopic', Name: name, 'push-endpoint': pushTo, persistent: String(persistent), OpaqueData: 'ops@example.com' }).toString()
  const headers: Record<string, string> = {
    'content-type': 'application/x-www-form-urlencoded',
    host: new URL(origin).host,
    'x-amz-content-sha256': sha256(body),
    'x-amz-date': new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  }
  const answer = await fetch(`${origin}/`, { method: 'POST', body, headers: { ...headers, authorization: sign(headers, sha256(body), credentials) } })
  const arn = /<TopicArn>(.+?)<\/TopicArn>/.exec(await answer.text())?.[1]
  if (arn === undefined) throw new Error(`the gateway answered ${answer.status} to CreateTopic`)
  return arn
}

/** Lets a bucket tell the topic of every object made or removed. */
export async function notify (client: S3Client, bucket: string, topicArn: string): Promise<void> {
  const configuration = { Id: 'edgeferry', TopicArn: topicArn, Events: ['s3:ObjectCreated:*' as const, 's3:ObjectRemoved:*' as const] }
  await client.send(new PutBucketNotificationConfigurationCommand({ Bucket: bucket, NotificationConfiguration: { TopicConfigurations: [configuration] } }))
}

/** AWS's signature version 4 of a POST to `/`, whose headers come in order of their names. */
function sign (headers: Record<string, string>, hash: string, { accessKeyId, secretAccessKey }: Credentials): string {
  const at = headers['x-amz-date'] ?? ''
  const scope = [at.slice(0, 8), 'us-east-1', 'sns', 'aws4_request']
  const names = Object.keys(headers).join(';')
  const request = ['POST', '/', '', ...Object.entries(headers).map(([name, value]) => `${name}:${value}`), '', names, hash].join('\n')
  const key = scope.reduce<string | Buffer>((secret, part) => createHmac('sha256', secret).update(part).digest(), `AWS4${secretAccessKey}`)
  const signature = createHmac('sha256', key).update(['AWS4-HMAC-SHA256', at, scope.join('/'), sha256(request)].join('\n')).digest('hex')
  return `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope.join('/')}, SignedHeaders=${names}, Signature=${signature}`
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
