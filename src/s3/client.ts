import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import packageJson from '../../package.json' with { type: 'json' }
import { createReadingAgents } from './agent.ts'
import { Sha256 } from './sha256.ts'

export interface S3ClientOptions {
  /** Undefined leaves it to the SDK's own chain, as `credentials` does. */
  region?: string
  /** Another S3 server; addressed in path style then. */
  endpoint?: string
  /** Until a connection stands (5000). */
  connectTimeoutMs?: number
  credentials?: S3ClientConfig['credentials']
}

/** What the SDK does for others, in Lambda, across regions, for uploads or for a log of its own: it takes its time in each request. */
const idle = ['loggerMiddleware', 'regionRedirectMiddleware', 'recursionDetectionMiddleware', 'contentLengthMiddleware', 'addExpectContinueMiddleware']

/**
 * An S3 client set up for streaming: no retries of its own (ours know the job), no checksums that would hold up or alter
 * bodies, and as many kept-alive sockets as copies need at once.
 */
export function createS3Client (options: S3ClientOptions): S3Client {
  const { region, endpoint, connectTimeoutMs = 5000, credentials } = options
  // Queued requests would count as slow connections, so sockets are not bounded here: the copies are. S3 drops idle
  // sockets without notice, and a request that meets one fails, so ours are closed before.
  const agents = createReadingAgents({ keepAlive: true, maxSockets: Infinity, timeout: 4000 })
  const client = new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    sha256: Sha256,
    // A socket timeout would take back-pressure for silence: the body's own deadline stands in.
    requestHandler: { connectionTimeout: connectTimeoutMs, socketTimeout: 0, ...agents }
  })
  for (const name of idle) client.middlewareStack.remove(name)
  neverRepeat(client)
  nameUs(client)
  // Each request copies the configuration six times. It grew member by member, and V8 is slow to copy such an object
  // until it has become the prototype of another.
  Object.setPrototypeOf({}, client.config)
  return client
}

/** Leaves retries out: `maxAttempts` would count to one, at a price. The name stays, because signing stands behind it. */
function neverRepeat (client: S3Client): void {
  const name = 'retryMiddleware'
  client.middlewareStack.remove(name)
  client.middlewareStack.add(next => next, { step: 'finalizeRequest', priority: 'high', name })
}

const userAgent = `${packageJson.name}/${packageJson.version}`

/** Says who we are; the SDK would compose anew for each request how it was built and what of it is used. */
function nameUs (client: S3Client): void {
  const name = 'getUserAgentMiddleware'
  client.middlewareStack.remove(name)
  client.middlewareStack.add(next => async args => {
    (args.request as { headers: Record<string, string> }).headers['user-agent'] = userAgent
    return await next(args)
  }, { step: 'build', priority: 'low', name })
}
