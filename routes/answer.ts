import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../src/errors.ts'
import { AppError, toProblem } from '../src/errors.ts'
import { JobSchema, problem, ref, type Job } from '../src/schemas.ts'

const longestWaitSeconds = 55

/** What a `Prefer` header asks for (RFC 7240); what is malformed is ignored. */
export function readPrefer (header: string | string[] | undefined): { waitMs: number, strict: boolean, applied: string } {
  const parts = [header ?? ''].flat().join(',').split(',').map(each => each.trim())
  const wait = parts.map(each => /^wait\s*=\s*"?(\d{1,9})"?$/i.exec(each)?.[1]).find(each => each !== undefined)
  const strict = parts.some(each => /^handling\s*=\s*"?strict"?$/i.test(each))
  if (wait === undefined) return { waitMs: 0, strict: false, applied: '' }
  const seconds = Math.min(Number(wait), longestWaitSeconds)
  return { waitMs: seconds * 1000, strict, applied: `wait=${seconds}${strict ? ', handling=strict' : ''}` }
}

/** The responses of every route that answers with a job. */
export const jobResponses = {
  200: ref(JobSchema, 'The job; it succeeded in the time the caller gave it.'),
  202: ref(JobSchema, 'The job is stored and will be done.'),
  400: problem('invalid_request, key_not_mappable'),
  401: problem('unauthorized'),
  403: problem('forbidden, bucket_not_allowed, cp_code_not_allowed, host_not_allowed, proxy_without_tokens'),
  404: problem('job_not_found, or with Prefer: wait a failed job\'s object_not_found, bucket_not_found'),
  409: problem('with Prefer: wait, of a failed job: cancelled, target_not_ours'),
  413: problem('payload_too_large'),
  415: problem('unsupported_media_type'),
  422: problem('no_rule, or with Prefer: wait of a failed job: content_encoding_unsupported, redirect_unsupported, object_archived, purge_object_too_long'),
  500: problem('internal_error'),
  502: problem('with Prefer: wait, of a failed job: S3, NetStorage or Fast Purge refused or could not answer'),
  503: problem('store_unavailable: nothing was started, try again'),
  504: problem('with Prefer: wait: not_finished (handling=strict), or of a failed job: S3, NetStorage or Fast Purge fell silent')
}

/** Answers with a job, after waiting for its end as far as the caller prefers. */
export async function answerJob (request: FastifyRequest, reply: FastifyReply, job: Job, status: 200 | 202): Promise<never> {
  const { waitMs, strict, applied } = readPrefer(request.headers['prefer'])
  const path = `/jobs/${job.id}`
  const location = job.links.self.endsWith(path) ? job.links.self : path
  if (applied === '') {
    if (status === 202) reply.header('location', location)
    return await (reply.code(status).send(job) as unknown as Promise<never>)
  }
  const now = job.finishedAt === undefined && job.state !== 'held' ? await request.server.jobs.wait(job.id, waitMs) ?? job : job
  reply.header('location', location).header('preference-applied', applied)
  if (now.state === 'succeeded') return await (reply.code(200).send(now) as unknown as Promise<never>)
  if (now.state === 'failed' || now.state === 'cancelled') {
    const cause = now.error as Problem | undefined ?? toProblem(new AppError('cancelled', 'The job was cancelled.'))
    return await fail(reply, cause, now)
  }
  return strict ? await fail(reply, toProblem(new AppError('not_finished', `The job goes on; look at ${location}.`)), now) : await reply.code(202).send(now)
}

async function fail (reply: FastifyReply, cause: Problem, job: Job): Promise<never> {
  return await (reply.code(cause.status).type('application/problem+json').send({ ...cause, instance: `urn:request:${reply.request.id}`, job }) as unknown as Promise<never>)
}

/** Where a REST call's job came from. */
export function restSource (request: FastifyRequest): { type: 'rest', token?: string } {
  return { type: 'rest', ...(request.token === undefined ? {} : { token: request.token }) }
}

/** The header that makes a call wait. */
export const preferHeader = {
  type: 'object',
  properties: { prefer: { type: 'string', description: '`wait=N` (at most 55 s), `handling=strict`', examples: ['wait=30'] } }
} as const
