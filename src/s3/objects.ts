import { GetObjectCommand, HeadBucketCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { Readable } from 'node:stream'
import { AppError } from '../errors.ts'
import { createResumingBody } from './body.ts'
import { nameObject, statusOf, toS3Error, type S3Attempt } from './failures.ts'
import { readInfo, type S3Answer, type S3ObjectInfo } from './metadata.ts'

/** Which object, and how to read it. */
export interface S3ObjectRef {
  bucket: string
  key: string
  /** Undefined for the newest. */
  versionId?: string
  /** Whether an ETag that looks like an MD5 is one (`auto`). */
  etagIsMd5?: 'auto' | 'never'
  signal?: AbortSignal
}

/** An object with its bytes. */
export interface S3Body extends S3ObjectInfo {
  /** Must be read to its end or destroyed: until then it holds a connection. Its chunks are the reader's own. */
  body: Readable
}

export interface S3ObjectsOptions {
  client: S3Client
  /** Silence that ends a request or a body while somebody waits for it. */
  stallTimeoutMs: number
  /** Called when the head of an answer is here or none will come; `status` is 0 then. */
  onRequest?: (request: { action: S3Attempt['action'], status: number, durationMs: number }) => void
}

export interface S3Objects {
  /**
   * The object as it is now: metadata and bytes of one GET. The body resumes when it breaks, and fails with
   * `object_changed` rather than mix two objects. An abort throws the signal's reason.
   */
  open (ref: S3ObjectRef): Promise<S3Body>
  /** The metadata alone. Where a HEAD is refused, a GET is asked for the reason, which a HEAD cannot give. */
  head (ref: S3ObjectRef): Promise<S3ObjectInfo>
  /** Throws unless the credentials reach the bucket: the neutral question behind a refusal. */
  probeBucket (bucket: string, signal?: AbortSignal): Promise<void>
}

/** Reads objects from S3, or a server that speaks as it does. Every error is an AppError `object_*`, `bucket_*` or `s3_*`. */
export function createS3Objects ({ client, stallTimeoutMs, onRequest }: S3ObjectsOptions): S3Objects {
  /** The one door to S3: one request, with a deadline until the head of its answer is here. */
  async function call<T> (attempt: S3Attempt, signal: AbortSignal | undefined, send: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    const startedAt = performance.now()
    // By hand: AbortSignal.any is ten times as dear.
    const ending = new AbortController()
    const abortSignal = ending.signal
    // The SDK heeds the signal only once it has credentials, and waiting for those can be what takes so long.
    const aborted = Promise.withResolvers<never>()
    const end = () => {
      ending.abort(signal?.reason)
      aborted.reject(abortSignal.reason)
    }
    signal?.addEventListener('abort', end)
    const deadline = setTimeout(end, stallTimeoutMs)
    let status = 0
    try {
      const answer = await Promise.race([send(abortSignal), aborted.promise]).catch(async (error: unknown) => {
        signal?.throwIfAborted()
        if (abortSignal.aborted) throw new AppError('s3_silent', `S3 did not answer ${attempt.action} of ${nameObject(attempt)} within ${stallTimeoutMs / 1000} s.`)
        status = statusOf(error)
        // Without a region this fails as the request did.
        throw toS3Error(error, { ...attempt, region: await client.config.region().catch(() => undefined) })
      })
      status = statusOf(answer)
      return answer
    } finally {
      clearTimeout(deadline)
      signal?.removeEventListener('abort', end)
      onRequest?.({ action: attempt.action, status, durationMs: performance.now() - startedAt })
    }
  }

  /** The rest of the object that `first` began, or `object_changed`. */
  async function reopen (ref: S3ObjectRef, first: S3Answer, offset: number, signal: AbortSignal): Promise<Readable> {
    const { ETag: etag, ContentLength: sizeBytes = 0 } = first
    const changed = (answered: string) => new AppError('object_changed', `${nameObject(ref)} changed while it was read: S3 answered ${answered} after ${offset} of ${sizeBytes} bytes.`)
    const answer = await call({ action: 'GetObject', ...pick(ref) }, signal, (abortSignal) =>
      client.send(new GetObjectCommand({ ...input(ref), Range: `bytes=${offset}-`, IfMatch: etag }), { abortSignal })
    ).catch((error: AppError) => {
      throw error.code === 'object_not_found' ? changed('that it is gone') : error
    })
    const body = answer.Body as Readable
    const { $metadata: { httpStatusCode: status }, ContentRange: range = 'no range', ETag: etagNow } = answer
    if (status === 206 && range === `bytes ${offset}-${sizeBytes - 1}/${sizeBytes}` && etagNow === etag) return body
    body.destroy()
    throw changed(`${status} (${range}, ETag ${etagNow})`)
  }

  async function open (ref: S3ObjectRef): Promise<S3Body> {
    const attempt: S3Attempt = { action: 'GetObject', ...pick(ref) }
    const answer = await call(attempt, ref.signal, (abortSignal) => client.send(new GetObjectCommand(input(ref)), { abortSignal }))
    const stream = answer.Body as Readable
    const info = readOrRefuse(answer, attempt, ref, stream)
    const body = createResumingBody({
      stream,
      sizeBytes: info.sizeBytes,
      reopen: (offset, signal) => reopen(ref, answer, offset, signal),
      stallTimeoutMs,
      toError: (error) => toS3Error(error, attempt),
      signal: ref.signal
    })
    return { ...info, body }
  }

  return {
    open,
    async head (ref) {
      const attempt: S3Attempt = { action: 'HeadObject', ...pick(ref) }
      try {
        const answer = await call(attempt, ref.signal, (abortSignal) => client.send(new HeadObjectCommand(input(ref)), { abortSignal }))
        return readOrRefuse(answer, attempt, ref)
      } catch (error) {
        if (!(error instanceof AppError) || error.retryable) throw error
        const { body, ...info } = await open(ref)
        body.destroy()
        return info
      }
    },
    async probeBucket (bucket, signal) {
      await call({ action: 'HeadBucket', bucket }, signal, (abortSignal) => client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal }))
    }
  }
}

const pick = ({ bucket, key, versionId }: S3ObjectRef) => ({ bucket, key, ...(versionId === undefined ? {} : { versionId }) })
const input = ({ bucket, key, versionId }: S3ObjectRef) => ({ Bucket: bucket, Key: key, ...(versionId === undefined ? {} : { VersionId: versionId }) })

function readOrRefuse (answer: S3Answer, attempt: S3Attempt, { etagIsMd5 = 'auto' }: S3ObjectRef, stream?: Readable): S3ObjectInfo {
  const info = readInfo(answer, attempt.bucket, etagIsMd5)
  if (info !== undefined) return info
  stream?.destroy()
  throw new AppError('s3_refused', `The answer to ${attempt.action} of ${nameObject(attempt)} lacks ETag, Content-Length or Last-Modified: check the endpoint, no S3 answers so.`)
}
