import { catalogue, problemCodes } from '../src/errors.ts'
import { JobSchema, problem, ref } from '../src/schemas.ts'

/** The codes that a failed job may show with this status. */
const codesOf = (status: number) => problemCodes.filter(code => catalogue[code].status === status && code !== 'not_finished').join(', ')

/** What any request can meet, whatever it asks for. */
export const always = {
  400: problem('invalid_request'),
  408: problem('request_timeout'),
  431: problem('headers_too_large'),
  500: problem('internal_error'),
  503: problem('store_unavailable: nothing was started, try again')
}

/** The refusals of every route that needs a token. */
export const refusals = {
  ...always,
  401: problem('unauthorized'),
  403: problem('forbidden, bucket_not_allowed, proxy_without_tokens'),
  429: problem('too_many_requests')
}

/** The refusals of every route that takes a body. */
export const bodyRefusals = {
  ...refusals,
  413: problem('payload_too_large'),
  415: problem('unsupported_media_type')
}

/** How a call that waits for a job can end. */
const ends = {
  200: ref(JobSchema, 'The job; it succeeded in the time the caller gave it.'),
  404: problem('with Prefer: wait, of a failed job: object_not_found, bucket_not_found'),
  409: problem('with Prefer: wait, of a failed job: cancelled, target_not_ours'),
  422: problem('with Prefer: wait, of a failed job: content_encoding_unsupported, redirect_unsupported, object_archived, purge_object_too_long'),
  502: problem(`with Prefer: wait, of a failed job: ${codesOf(502)}`),
  504: problem(`with Prefer: wait: not_finished (handling=strict), or of a failed job: ${codesOf(504)}`)
}

/** The responses of the route that shows a job, and may wait for it. */
export const jobResponses = {
  ...refusals,
  ...ends,
  200: ref(JobSchema, 'The job; with Prefer: wait, it succeeded.'),
  202: ref(JobSchema, 'With Prefer: wait, the job as it is when that time is over.'),
  400: problem('invalid_request, or with Prefer: wait of a failed job: key_not_mappable'),
  404: problem('job_not_found, or with Prefer: wait of a failed job: object_not_found, bucket_not_found')
}

/** The responses of every route that starts a job, and may wait for it. */
export const startResponses = {
  ...bodyRefusals,
  ...ends,
  202: ref(JobSchema, 'The job is stored and will be done.'),
  400: problem('invalid_request, key_not_mappable'),
  403: problem('forbidden, bucket_not_allowed, cp_code_not_allowed, host_not_allowed, proxy_without_tokens'),
  422: problem('no_rule, idempotency_key_reused, or with Prefer: wait of a failed job: content_encoding_unsupported, redirect_unsupported, object_archived, purge_object_too_long')
}
