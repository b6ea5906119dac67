import { startFastPurge, type FastPurgeOptions } from './fast-purge/server.ts'
import { startNetStorage } from './netstorage/server.ts'
import { toTopic } from './s3/notifications/destination.ts'
import { startS3 } from './s3/server.ts'
import { startSns, type SnsOptions } from './sns/server.ts'

export const bucket = 'example-assets'
export const cpCode = 123456
export const topicArn = `arn:aws:sns:us-east-1:123456789012:${bucket}`

/** Where each server listens; a free port by default. */
export interface SandboxPorts { s3?: number, netstorage?: number, fastPurge?: number, sns?: number }

/**
 * S3, NetStorage, Fast Purge and SNS on loopback, with one bucket, one upload account, one API client and one topic:
 * the bucket tells the topic of its changes. All names and secrets are invented.
 */
export async function startSandbox (ports: SandboxPorts = {}, snsOptions: Omit<SnsOptions, 'port' | 'topics'> = {}, purgeOptions: Pick<FastPurgeOptions, 'scheme'> = {}) {
  const port = (value: number | undefined) => value === undefined ? {} : { port: value }
  const account = { keyName: 'sandbox-upload', key: 'sandbox-netstorage-key', cpCodes: [cpCode] }
  const client = { clientToken: 'sandbox-client-token', clientSecret: 'sandbox-client-secret', accessToken: 'sandbox-access-token' }
  const [s3, netstorage, fastPurge, sns] = await Promise.all([
    startS3(port(ports.s3)),
    startNetStorage({ accounts: [account], ...port(ports.netstorage) }),
    startFastPurge({ ...purgeOptions, clients: [client], hosts: ['www.example.com'], ...port(ports.fastPurge) }),
    startSns({ ...snsOptions, topics: [topicArn], ...port(ports.sns) })
  ])
  await s3.createBucket(bucket)
  s3.notifications.configure(bucket, { to: toTopic((message, more) => sns.publish(topicArn, message, more)) })
  return {
    s3,
    netstorage,
    fastPurge,
    sns,
    /** Subscribes a service's `/sns` to the topic; it has to confirm. */
    subscribe: (serviceOrigin: string) => sns.subscribe(topicArn, `${serviceOrigin}/sns`),
    /** What points a service at it. */
    env: {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'sandbox-access-key',
      AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key',
      AWS_ENDPOINT_URL_S3: s3.origin,
      S3_BUCKETS: bucket,
      AWS_ENDPOINT_URL_SNS: sns.origin,
      SNS_TOPIC_ARNS: topicArn,
      NS_HOSTNAME: netstorage.origin,
      NS_KEYNAME: account.keyName,
      NS_KEY: account.key,
      NS_CP: String(cpCode),
      AO_API_HOST: fastPurge.origin,
      AO_CLIENT_TOKEN: client.clientToken,
      AO_CLIENT_SECRET: client.clientSecret,
      AO_ACCESS_TOKEN: client.accessToken,
      PURGE_URLS: 'https://www.example.com/{key}'
    },
    /** Resolves when no event and no message is on its way. */
    async idle () {
      await s3.notifications.idle()
      await sns.idle()
    },
    async close () {
      await Promise.all([s3.close(), netstorage.close(), fastPurge.close(), sns.close()])
    }
  }
}
