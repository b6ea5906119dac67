import { bucket, startSandbox, topicArn } from './sandbox.ts'

/** `npm run sandbox`: the four servers on fixed ports until Ctrl-C, and the environment that points a service at them. */
const port = (name: string, value: number) => Number(process.env[name] ?? value)
const sandbox = await startSandbox({
  s3: port('SANDBOX_S3_PORT', 9400),
  netstorage: port('SANDBOX_NETSTORAGE_PORT', 9401),
  fastPurge: port('SANDBOX_FAST_PURGE_PORT', 9402),
  sns: port('SANDBOX_SNS_PORT', 9403)
})
await sandbox.s3.put(bucket, 'hello.txt', 'hello from S3\n')
const lines = Object.entries(sandbox.env).map(([name, value]) => `export ${name}='${value}'`)
process.stdout.write(`# The sandbox runs; its bucket holds hello.txt. Point a service at it in another shell:
${lines.join('\n')}
# then: npm start
# and subscribe it to the topic:
curl '${sandbox.sns.origin}/?Action=Subscribe&TopicArn=${topicArn}&Protocol=http&Endpoint=http://127.0.0.1:8080/sns'
`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { sandbox.close().then(() => { process.exit(0) }) })
