/** What the service knows of one kind of failure: the HTTP status a caller sees, and whether trying again can help. */
interface Kind {
  status: number
  title: string
  retryable?: true
  /** The failure may be one of credentials: it says nothing about the job, and can pause its whole target. */
  credentials?: true
}

/**
 * Everything that can go wrong, by its stable code. The codes are part of the contract: they stand in `openapi.yaml`,
 * in jobs, in metrics and in logs, and never change their meaning.
 */
export const catalogue = {
  // What a caller can mend.
  invalid_request: { status: 400, title: 'The request is not valid' },
  key_not_mappable: { status: 400, title: 'The key cannot be a NetStorage path' },
  unauthorized: { status: 401, title: 'A bearer token is needed' },
  forbidden: { status: 403, title: 'The token lacks the scope' },
  bucket_not_allowed: { status: 403, title: 'The bucket is not one this service copies from' },
  cp_code_not_allowed: { status: 403, title: 'The CP code is not one this service may use' },
  host_not_allowed: { status: 403, title: 'The host is not one this service may purge' },
  proxy_without_tokens: { status: 403, title: 'Behind a proxy this service needs API_TOKENS' },
  not_found: { status: 404, title: 'There is nothing at this address' },
  job_not_found: { status: 404, title: 'There is no such job' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here' },
  wrong_state: { status: 409, title: 'The job is in a state that does not allow this' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  payload_too_large: { status: 413, title: 'The request body is too large' },
  unsupported_media_type: { status: 415, title: 'The request body is not JSON' },
  no_rule: { status: 422, title: 'No rule covers this object' },
  idempotency_key_reused: { status: 422, title: 'The idempotency key belongs to another request' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  internal_error: { status: 500, title: 'Something unexpected went wrong', retryable: true },
  store_unavailable: { status: 503, title: 'The database does not answer', retryable: true },
  not_finished: { status: 504, title: 'The job did not finish in the time the caller gave it' },
  cancelled: { status: 409, title: 'The job was cancelled' },

  // What SNS, or whoever claims to be it, sent.
  sns_malformed: { status: 400, title: 'The body is not a message of Amazon SNS' },
  sns_refused: { status: 403, title: 'The SNS message is not one this service obeys' },
  sns_unverifiable: { status: 503, title: 'The SNS message cannot be verified now', retryable: true },

  // What S3 said of an object.
  object_not_found: { status: 404, title: 'S3 holds no such object' },
  bucket_not_found: { status: 404, title: 'S3 has no such bucket' },
  object_archived: { status: 422, title: 'The object is archived and must be restored first' },
  content_encoding_unsupported: { status: 422, title: 'The object has a Content-Encoding, which NetStorage would lose' },
  redirect_unsupported: { status: 422, title: 'The object is a website redirect, which NetStorage cannot serve' },
  object_changed: { status: 502, title: 'The object changed while it was read', retryable: true },
  s3_forbidden: { status: 502, title: 'S3 refused the credentials', credentials: true },
  s3_access_denied: { status: 502, title: 'S3 denied access to the object', credentials: true },
  s3_refused: { status: 502, title: 'S3 refused the request' },
  s3_unavailable: { status: 502, title: 'S3 could not answer', retryable: true },
  s3_silent: { status: 504, title: 'S3 fell silent', retryable: true },

  // NetStorage.
  netstorage_forbidden: { status: 502, title: 'NetStorage refused the upload account', credentials: true },
  netstorage_refused: { status: 502, title: 'NetStorage refused the request' },
  netstorage_digest_refused: { status: 502, title: 'NetStorage refused the bytes: size or digest differ', retryable: true },
  netstorage_unavailable: { status: 502, title: 'NetStorage could not answer', retryable: true },
  netstorage_silent: { status: 504, title: 'NetStorage fell silent', retryable: true },
  verification_failed: { status: 502, title: 'NetStorage does not show the bytes that were sent', retryable: true },
  delete_limit: { status: 409, title: 'More deletes by events than DELETE_LIMIT_PER_MINUTE' },
  target_not_ours: { status: 409, title: 'The object on NetStorage was not put there by this service' },

  // Fast Purge.
  purge_forbidden: { status: 502, title: 'Fast Purge refused the credentials', credentials: true },
  purge_refused: { status: 502, title: 'Fast Purge refused the objects' },
  purge_object_too_long: { status: 422, title: 'The object is too long for any purge request' },
  purge_unavailable: { status: 502, title: 'Fast Purge could not answer', retryable: true },
  purge_rate_limited: { status: 502, title: 'Fast Purge is over its rate limit', retryable: true },
  purge_silent: { status: 504, title: 'Fast Purge fell silent', retryable: true }
} as const satisfies Record<string, Kind>

/** The stable code of a failure. */
export type ProblemCode = keyof typeof catalogue

/** Every code there is, for the schema that shows them. */
export const problemCodes = Object.keys(catalogue) as ProblemCode[]

/** RFC 9457 problem details, with our stable `code`. */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: ProblemCode
  instance?: string
  errors?: Array<{ where: string, message: string }>
}

export interface AppErrorOptions {
  cause?: unknown
  /** One entry per fault of a request, for validation errors. */
  errors?: Array<{ where: string, message: string }>
  /** Seconds after which a retry makes sense, where the other side said so. */
  retryAfterSeconds?: number
}

/**
 * A failure we know. Its message says what was tried, on what, what came back and what to do, and holds no secret: it
 * is shown to callers, kept in jobs and logged.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ProblemCode
  readonly statusCode: number
  /** Whether the same attempt may succeed later: the one flag that decides between a retry and `failed`. */
  readonly retryable: boolean
  /** Whether it may be a failure of credentials, which pauses the target rather than failing the job. */
  readonly credentials: boolean
  readonly errors: AppErrorOptions['errors']
  readonly retryAfterSeconds: number | undefined

  constructor (code: ProblemCode, message: string, options: AppErrorOptions = {}) {
    super(message, { cause: options.cause })
    const kind: Kind = catalogue[code]
    this.code = code
    this.statusCode = kind.status
    this.retryable = kind.retryable ?? false
    this.credentials = kind.credentials ?? false
    this.errors = options.errors
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** An unknown failure becomes a retryable `internal_error` whose message tells strangers nothing; the cause keeps it for the log. */
export function toAppError (error: unknown): AppError {
  return error instanceof AppError
    ? error
    : new AppError('internal_error', 'An unexpected error was logged under this request or job.', { cause: error })
}

/** The error as problem details, for a response or a job. */
export function toProblem (error: AppError): Problem {
  return {
    type: 'about:blank',
    title: catalogue[error.code].title,
    status: error.statusCode,
    detail: error.message,
    code: error.code,
    ...(error.errors === undefined ? {} : { errors: error.errors })
  }
}
