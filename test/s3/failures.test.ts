import t from 'tap'
import { AppError } from '../../src/errors.ts'
import { statusOf, toS3Error, type S3Attempt } from '../../src/s3/failures.ts'

const get: S3Attempt = { action: 'GetObject', bucket: 'assets', key: 'a/b.css', region: 'eu-west-1' }
const head: S3Attempt = { ...get, action: 'HeadObject' }
const probe: S3Attempt = { action: 'HeadBucket', bucket: 'assets', region: 'eu-west-1' }
const secret = 'AWS4-HMAC-SHA256 Credential=AKIA'

/** An error as the SDK throws it, with the request that must not leak. */
const answered = (status: number, name: string, headers: Record<string, string> = {}, more: object = {}) => Object.assign(new Error(`words of ${name}`), {
  name, $metadata: { httpStatusCode: status }, $response: { statusCode: status, headers, body: { req: { authorization: secret } } }, ...more
})
const unanswered = (name: string, more: object = {}) => Object.assign(new Error(`words of ${name}`), { name, $metadata: { attempts: 1 }, ...more })

t.test('each error of the SDK becomes the failure it stands for', async (t) => {
  const table: Array<[unknown, S3Attempt, string, RegExp]> = [
    [answered(404, 'NoSuchKey'), get, 'object_not_found', /^S3 answered 404 NoSuchKey to GetObject of s3:\/\/assets\/a\/b.css: words of NoSuchKey\. There is no such object: check the key, which is taken as it is\.$/],
    [answered(404, 'NoSuchKey', {}, { message: 'UnknownError' }), get, 'object_not_found', /^S3 answered 404 NoSuchKey to GetObject of s3:\/\/assets\/a\/b.css\. There is no such object: check the key, which is taken as it is\.$/],
    [answered(404, 'NoSuchKey'), head, 's3_refused', /404/],
    [answered(404, 'NotFound'), head, 's3_refused', /404 NotFound/],
    [answered(404, 'NotFound'), get, 's3_refused', /404 NotFound.* Check the name of the bucket, and that AWS_ENDPOINT_URL_S3/],
    [answered(404, 'NoSuchBucket'), get, 'bucket_not_found', /name of the bucket/],
    [answered(404, 'NotFound'), probe, 'bucket_not_found', /HeadBucket of s3:\/\/assets:/],
    [answered(404, 'NoSuchVersion'), { ...get, versionId: 'v1' }, 'object_not_found', /\(version v1\).*no such version/],
    [answered(405, 'MethodNotAllowed', { 'x-amz-delete-marker': 'true' }), { ...get, versionId: 'v1' }, 'object_not_found', /delete marker/],
    [answered(405, 'MethodNotAllowed'), get, 's3_refused', /405/],
    [answered(403, 'InvalidObjectState'), get, 'object_archived', /Restore/],
    [answered(412, 'PreconditionFailed'), get, 'object_changed', /changed/],
    [answered(416, 'InvalidRange'), get, 'object_changed', /changed/],
    [answered(403, 'AccessDenied'), get, 's3_access_denied', /assets\/a\/b.css.*without s3:ListBucket a missing key looks forbidden/],
    [answered(403, '403'), head, 's3_access_denied', /without s3:ListBucket/],
    [answered(403, 'SignatureDoesNotMatch'), get, 's3_forbidden', /Check the AWS credentials/],
    [answered(403, 'InvalidAccessKeyId'), get, 's3_forbidden', /Check the AWS credentials/],
    [answered(400, 'ExpiredToken'), get, 's3_forbidden', /expired/],
    [answered(403, 'RequestTimeTooSkewed'), get, 's3_forbidden', /clock/],
    [answered(401, 'Unauthorized'), get, 's3_forbidden', /401/],
    [answered(400, '400'), probe, 's3_forbidden', /expired/],
    [unanswered('CredentialsProviderError'), get, 's3_forbidden', /^No AWS credentials for GetObject of/],
    [unanswered('ExpiredTokenException'), get, 's3_forbidden', /^No AWS credentials for GetObject of/],
    [answered(301, 'PermanentRedirect', { 'x-amz-bucket-region': 'us-west-2' }), get, 's3_refused', /in us-west-2: set AWS_REGION/],
    [answered(301, 'PermanentRedirect'), get, 's3_refused', /another region/],
    [answered(400, 'AuthorizationHeaderMalformed', {}, { Region: 'us-west-2' }), get, 's3_refused', /in us-west-2/],
    [answered(400, '400', { 'x-amz-bucket-region': 'us-west-2' }), probe, 's3_refused', /in us-west-2/],
    [answered(400, '400', { 'x-amz-bucket-region': 'eu-west-1' }), probe, 's3_forbidden', /expired/],
    [answered(403, '403', { 'x-amz-bucket-region': 'us-west-2' }), probe, 's3_access_denied', /403/],
    [unanswered('Error', { message: 'Region is missing' }), get, 's3_refused', /set AWS_REGION/],
    [answered(400, 'InvalidArgument'), get, 's3_refused', /InvalidArgument/],
    [answered(400, 'ThrottlingException'), get, 's3_unavailable', /Throttling/],
    [answered(400, 'RequestTimeout'), get, 's3_unavailable', /RequestTimeout/],
    [answered(503, 'SlowDown', { 'retry-after': '3' }), get, 's3_unavailable', /SlowDown/],
    [answered(429, 'TooManyRequests'), get, 's3_unavailable', /429/],
    [answered(500, 'InternalError'), get, 's3_unavailable', /500/],
    [answered(200, 'SyntaxError'), get, 's3_unavailable', /200/],
    [unanswered('TimeoutError', { code: 'ECONNRESET' }), get, 's3_unavailable', /could not be reached/],
    [unanswered('TimeoutError', { code: 'EPIPE' }), get, 's3_unavailable', /could not be reached/],
    [unanswered('Error', { code: 'ECONNREFUSED' }), get, 's3_unavailable', /could not be reached/],
    [unanswered('TimeoutError', { code: 'ETIMEDOUT' }), get, 's3_silent', /in time/],
    [unanswered('TimeoutError'), get, 's3_silent', /in time/],
    [unanswered('AggregateError', { message: '', code: 'ECONNREFUSED' }), get, 's3_unavailable', /: ECONNREFUSED\. It will be tried again; check the network, and AWS_REGION and AWS_ENDPOINT_URL_S3/],
    ['thrown text', get, 's3_unavailable', /no reason given/],
    [undefined, get, 's3_unavailable', /no reason given/]
  ]
  for (const [error, attempt, code, message] of table) {
    const failure = toS3Error(error, attempt)
    t.match(failure, { code, message }, `${statusOf(error)} ${String(error)} to ${attempt.action}`)
    t.ok(failure.cause instanceof Error && !('$response' in failure.cause) && Object.getPrototypeOf(failure.cause) === Error.prototype, 'the cause is a plain error')
    t.notMatch(JSON.stringify([failure, Object.entries(failure.cause as object)]), /AKIA/)
  }
})

t.test('what S3 asks to wait is passed on, and our own errors pass unchanged', async (t) => {
  t.equal(toS3Error(answered(503, 'SlowDown', { 'retry-after': '3' }), get).retryAfterSeconds, 3)
  t.equal(toS3Error(answered(503, 'SlowDown'), get).retryAfterSeconds, undefined)
  const own = new AppError('object_changed', 'x')
  t.equal(toS3Error(own, get), own)
})
