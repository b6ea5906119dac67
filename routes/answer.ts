import Type from 'typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../src/errors.ts'
import { AppError, toProblem } from '../src/errors.ts'
import type { Job } from '../src/schemas.ts'

const longestWaitSeconds = 55

/** What a `Prefer` header asks for (RFC 7240); what is malformed is ignored, and the first of equals counts. */
export function readPrefer (header: string | string[] | undefined): { waitMs: number, strict: boolean, applied: string } {
  const parts = [header ?? ''].flat().join(',').split(',').map(each => each.split(';')[0]?.trim() ?? '')
  const wait = parts.map(each => /^wait\s*=\s*"?(\d+)"?$/i.exec(each)?.[1]).find(each => each !== undefined)
  const handling = parts.map(each => /^handling\s*=\s*"?(strict|lenient)"?$/i.exec(each)?.[1]).find(each => each !== undefined)
  if (wait === undefined) return { waitMs: 0, strict: false, applied: '' }
  const seconds = Math.min(Number(wait), longestWaitSeconds)
  const strict = handling?.toLowerCase() === 'strict'
  return { waitMs: seconds * 1000, strict, applied: `wait=${seconds}${strict ? ', handling=strict' : ''}` }
}

/** Answers with a job, after waiting for its end as far as the caller prefers. */
export async function answerJob (request: FastifyRequest, reply: FastifyReply, job: Job, status: 200 | 202): Promise<never> {
  const { waitMs, strict, applied } = readPrefer(request.headers['prefer'])
  const location = job.links.self
  if (applied === '') {
    if (status === 202) reply.header('location', location)
    return await (reply.code(status).send(job) as unknown as Promise<never>)
  }
  const now = job.finishedAt === undefined && job.state !== 'held' ? await request.server.jobs.wait(job.id, waitMs, goneOf(reply)) ?? job : job
  reply.header('location', location).header('preference-applied', applied)
  if (now.state === 'succeeded') return await (reply.code(200).send(now) as unknown as Promise<never>)
  if (now.state === 'failed' || now.state === 'cancelled') {
    const cause = now.error as Problem | undefined ?? toProblem(new AppError('cancelled', 'The job was cancelled.'))
    return await fail(reply, cause, now)
  }
  return strict ? await fail(reply, toProblem(new AppError('not_finished', `The job goes on; look at ${location}.`)), now) : await reply.code(202).send(now)
}

/** Aborts when the caller hangs up: nobody waits for an answer any more. */
function goneOf ({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => { gone.abort() })
  if (raw.closed) gone.abort()
  return gone.signal
}

async function fail (reply: FastifyReply, cause: Problem, job: Job): Promise<never> {
  return await (reply.code(cause.status).type('application/problem+json').send({ ...cause, instance: `urn:request:${reply.request.id}`, job }) as unknown as Promise<never>)
}

/** The header that makes a call wait. */
export const preferHeader = Type.Object({
  prefer: Type.Optional(Type.String({ description: '`wait=N` waits up to N seconds (at most 55) for the end of the job; `handling=strict` makes it a 504 if that is not enough', examples: ['wait=30'] }))
})

/** The headers of the calls that start a job. */
export const startHeaders = Type.Object({
  ...preferHeader.properties,
  'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'the same key of the same token stands for the same job for 24 hours; with another body it is refused', examples: ['9f86d081-884c-4d65-9a2f-eaa0c55ad015'] }))
})

/** Who calls, and whether the call may be repeated. */
export function callOf (request: FastifyRequest) {
  return { caller: request.caller, idempotencyKey: request.headers['idempotency-key'] as string | undefined }
}
