import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { bodyOf } from '../../sandbox/sns/message.ts'
import type { SnsEmulator } from '../../sandbox/sns/server.ts'
import { bucket } from './servers.ts'

/** Signed notifications of S3, one of each key, as SNS posts them. */
export function makeNotifications (sns: SnsEmulator, topicArn: string, keys: string[]): Buffer[] {
  return keys.map((key, index) => Buffer.from(bodyOf({
    ...sns.sign({
      Type: 'Notification',
      MessageId: randomUUID(),
      TopicArn: topicArn,
      Subject: 'Amazon S3 Notification',
      Message: JSON.stringify({
        Records: [{
          eventVersion: '2.1',
          eventSource: 'aws:s3',
          awsRegion: 'us-east-1',
          eventTime: new Date().toISOString(),
          eventName: 'ObjectCreated:Put',
          userIdentity: { principalId: 'AWS:AIDAEXAMPLE' },
          requestParameters: { sourceIPAddress: '192.0.2.1' },
          responseElements: { 'x-amz-request-id': 'C3D13FE58DE4C810', 'x-amz-id-2': 'FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD' },
          s3: { s3SchemaVersion: '1.0', configurationId: 'all', bucket: { name: bucket, ownerIdentity: { principalId: 'A3NL1KOZZKExample' }, arn: `arn:aws:s3:::${bucket}` }, object: { key, size: 10_240, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: `0055AED6DC${index.toString(16).toUpperCase().padStart(8, '0')}` } }
        }]
      }),
      Timestamp: new Date().toISOString()
    }, '2'),
    UnsubscribeURL: `${sns.origin}/?Action=Unsubscribe&SubscriptionArn=${topicArn}:${randomUUID()}`
  })))
}

/** What a run of posts took, and the CPU of whoever posted them. */
export interface Posted { ms: number, latenciesMs: number[], generatorCpuMs: number }

const headers = { 'content-type': 'text/plain; charset=UTF-8', 'x-amz-sns-message-type': 'Notification', 'user-agent': 'Amazon Simple Notification Service Agent' }

/** Posts over that many connections, each the next one as soon as the last is acknowledged. */
export async function flood (origin: string, bodies: Buffer[], connections: number): Promise<Posted> {
  return await measure(origin, connections, async (post, latenciesMs) => {
    const left = bodies.values()
    await Promise.all(Array.from({ length: connections }, async () => {
      for (const body of left) latenciesMs.push(await post(body, performance.now()))
    }))
  })
}

/** Posts at an even pace, whatever the answers take: a late one counts from when it was due. */
export async function pace (origin: string, bodies: Buffer[], perSecond: number): Promise<Posted> {
  return await measure(origin, 256, async (post, latenciesMs) => {
    const start = performance.now()
    const answers: Array<Promise<unknown>> = []
    for (const [index, body] of bodies.entries()) {
      const due = start + index * 1000 / perSecond
      const early = due - performance.now()
      if (early > 1) await new Promise(resolve => { setTimeout(resolve, early) })
      answers.push(post(body, due).then(ms => latenciesMs.push(ms)))
    }
    await Promise.all(answers)
  })
}

async function measure (origin: string, connections: number, run: (post: (body: Buffer, since: number) => Promise<number>, latenciesMs: number[]) => Promise<void>): Promise<Posted> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const { hostname, port } = new URL(origin)
  const post = async (body: Buffer, since: number): Promise<number> => await new Promise((resolve, reject) => {
    const outgoing = request({ agent, hostname, port, method: 'POST', path: '/sns', headers: { ...headers, 'content-length': body.length } }, answer => {
      answer.resume().once('end', () => {
        if (answer.statusCode === 200) resolve(performance.now() - since)
        else reject(new Error(`a notification was answered ${answer.statusCode}`))
      })
    })
    outgoing.once('error', reject).end(body)
  })
  const latenciesMs: number[] = []
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run(post, latenciesMs)
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  agent.destroy()
  return { ms, latenciesMs, generatorCpuMs: (user + system) / 1000 }
}
