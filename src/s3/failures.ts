import { AppError, type ProblemCode } from '../errors.ts'

/** What was asked of S3, for messages and for telling the same status apart. */
export interface S3Attempt {
  action: 'GetObject' | 'HeadObject' | 'HeadBucket'
  bucket: string
  key?: string
  versionId?: string
  /** The region the request was signed for. */
  region?: string
}

/** What we keep of an SDK error; the rest holds the request with its headers. */
interface Fault {
  /** S3's code where it sent one, as `NoSuchKey`, else the SDK's class. */
  name: string
  /** A system error, as `ECONNRESET`. */
  code: string
  message: string
  /** 0 where no answer came. */
  status: number
  header: (name: string) => string | undefined
  region: string | undefined
}

const forbidden = new Set([
  'ExpiredToken', 'ExpiredTokenException', 'InvalidToken', 'TokenRefreshRequired', 'InvalidAccessKeyId', 'SignatureDoesNotMatch',
  'RequestTimeTooSkewed', 'CredentialsProviderError', 'TokenProviderError'
])
const wrongRegion = new Set(['PermanentRedirect', 'TemporaryRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'])
const busy = /^(?:SlowDown|.*Throttl.*|RequestLimitExceeded|RequestTimeout|TooManyRequests.*|InternalError|ServiceUnavailable)$/

/** `s3://bucket/key`, with its version where one was asked for. */
export function nameObject ({ bucket, key, versionId }: Pick<S3Attempt, 'bucket' | 'key' | 'versionId'>): string {
  return `s3://${bucket}${key === undefined ? '' : `/${key}`}${versionId === undefined ? '' : ` (version ${versionId})`}`
}

/** The HTTP status of an SDK error; 0 where no answer came. */
export function statusOf (error: unknown): number {
  return numberAt(at(error, '$metadata'), 'httpStatusCode')
}

/** An SDK error as ours: nothing of the request is kept, and the cause is a plain error of name, code and message. */
export function toS3Error (error: unknown, attempt: S3Attempt): AppError {
  if (error instanceof AppError) return error
  const fault = readFault(error)
  const { name, code, message, status } = fault
  const cause = Object.assign(new Error(message), { name, code })
  const what = `${attempt.action} of ${nameObject(attempt)}`
  // The SDK's word for an answer that says no more than its code, as all of Ceph's do.
  const words = message === 'UnknownError' ? '' : `: ${message.replace(/\.$/, '')}`
  const answered = `S3 answered ${status} ${name} to ${what}${words}.`

  if (status === 0 && !forbidden.has(name)) return toSilence(fault, what, cause)
  // An answer that broke off says nothing, whatever its status: the reason may have stood in the rest.
  if (code === 'ECONNRESET') return new AppError('s3_unavailable', `The connection to S3 broke within its answer (${status}) to ${what}. It will be tried again.`, { cause })
  const verdict = readVerdict(fault, attempt)
  if (verdict !== undefined) return new AppError(verdict[0], `${answered} ${verdict[1]}`, { cause })
  if (forbidden.has(name) || status === 401 || status === 403) {
    const said = status === 0 ? `No AWS credentials for ${what}: ${message.replace(/\.$/, '')}.` : answered
    return new AppError(forbidden.has(name) || status === 401 ? 's3_forbidden' : 's3_access_denied', `${said} ${forbiddenAdvice(name)}`, { cause })
  }
  // A HEAD carries no code, and this is how an expired token shows in it.
  if (status === 400 && attempt.action === 'HeadBucket') return new AppError('s3_forbidden', `${answered} ${forbiddenAdvice(name)}`, { cause })
  if (status === 429 || status >= 500 || busy.test(name) || status < 300) {
    const seconds = Number(fault.header('retry-after'))
    return new AppError('s3_unavailable', answered, { cause, ...(seconds > 0 ? { retryAfterSeconds: seconds } : {}) })
  }
  return new AppError('s3_refused', `${answered} Check the name of the bucket, and that AWS_ENDPOINT_URL_S3, where it is set, names an S3 server.`, { cause })
}

/** What S3's code says of the object or the bucket, and what to do. */
function readVerdict (fault: Fault, { action, key, region }: S3Attempt): [ProblemCode, string] | undefined {
  const { name, status } = fault
  // Only a GET tells a missing key from a missing bucket, and the answer decides over deletes.
  if (action === 'GetObject' && name === 'NoSuchKey') return ['object_not_found', 'There is no such object: check the key, which is taken as it is.']
  // Only a resumed read sets a condition and a range.
  if (status === 412 || status === 416) return ['object_changed', 'The object changed while it was read.']
  if (name === 'NoSuchVersion') return ['object_not_found', 'There is no such version.']
  if (fault.header('x-amz-delete-marker') === 'true') return ['object_not_found', 'This version is a delete marker.']
  if (name === 'NoSuchBucket' || (key === undefined && status === 404)) return ['bucket_not_found', 'Check the name of the bucket.']
  if (name === 'InvalidObjectState') return ['object_archived', 'Restore the object in S3, then try again.']
  const elsewhere = fault.region !== undefined && fault.region !== region
  if (wrongRegion.has(name) || status === 301 || status === 307 || (status === 400 && elsewhere)) {
    return ['s3_refused', elsewhere ? `The bucket is in ${fault.region}: set AWS_REGION to that.` : 'The bucket is in another region: set AWS_REGION to its region.']
  }
  return undefined
}

function forbiddenAdvice (name: string): string {
  if (name === 'RequestTimeTooSkewed') return 'The clock of this machine is off: set it right (NTP).'
  if (name === 'AccessDenied' || name === '403' || name === 'Forbidden' || name === 'Unknown' || name === 'UnknownError') {
    return 'Allow s3:GetObject (s3:GetObjectVersion for versions, kms:Decrypt under KMS) and s3:ListBucket; without s3:ListBucket a missing key looks forbidden.'
  }
  return 'Check the AWS credentials: they may be wrong, expired or missing. Without s3:ListBucket a missing key looks forbidden, too.'
}

/** No answer. The SDK calls resets time-outs, too; the code tells them apart. */
function toSilence ({ name, code, message }: Fault, what: string, cause: Error): AppError {
  if (/region is missing/i.test(message)) return new AppError('s3_refused', `No region for ${what}: set AWS_REGION.`, { cause })
  if (code === 'ETIMEDOUT' || (name === 'TimeoutError' && code === '')) {
    return new AppError('s3_silent', `S3 did not answer ${what} in time: ${message.replace(/\.$/, '')}. It will be tried again.`, { cause })
  }
  return new AppError('s3_unavailable', `S3 could not be reached for ${what}: ${message.replace(/\.$/, '')}. It will be tried again; check the network, and AWS_REGION and AWS_ENDPOINT_URL_S3 where they are set.`, { cause })
}

function readFault (error: unknown): Fault {
  const headers = at(at(error, '$response'), 'headers')
  const header = (name: string) => textAt(headers, name)
  const code = textAt(error, 'code')
  return {
    name: textAt(error, 'name') ?? 'Error',
    code: code ?? '',
    // Where a name has several addresses, the message is empty.
    message: textAt(error, 'message') ?? code ?? 'no reason given',
    status: statusOf(error),
    header,
    region: header('x-amz-bucket-region') ?? textAt(error, 'Region')
  }
}

function at (value: unknown, member: string): unknown {
  return typeof value === 'object' && value !== null && member in value ? (value as Record<string, unknown>)[member] : undefined
}
function textAt (value: unknown, member: string): string | undefined {
  const text = at(value, member)
  return typeof text === 'string' && text !== '' ? text : undefined
}
function numberAt (value: unknown, member: string): number {
  const number = at(value, member)
  return typeof number === 'number' ? number : 0
}
