import Type, { type Static, type TSchema } from 'typebox'
import { problemCodes } from './errors.ts'
import { jobExample, objectExample, problemExample, purgeExample, purgeExamples, syncExamples, uploadExamples } from './examples.ts'

const time = (description: string) => Type.String({ format: 'date-time', description })
const words = <const T extends string[]>(values: T, description: string) =>
  Type.Unsafe<T[number]>(Type.String({ enum: values, description }))

/** Text that every database can hold: no U+0000, and no half of a surrogate pair. */
export const plain = { pattern: '^[^\\u0000\\ud800-\\udfff]*$' } as const

/** The path parameter of routes about one job; the format alone would allow `urn:uuid:` too. */
export const JobParamsSchema = Type.Object({
  id: Type.String({ format: 'uuid', pattern: '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$', description: 'of the job', examples: ['019a2b7c-f0ea-733e-b2cc-499eb9104510'] })
})

/** The states a job can be in. */
export const jobStates = ['queued', 'uploading', 'settling', 'purging', 'held', 'succeeded', 'failed', 'cancelled'] as const
/** What can be purged, how and where. */
export const purgeTypes = ['url', 'cpcode', 'tag'] as const
export const purgeActions = ['invalidate', 'delete'] as const
export const purgeNetworks = ['production', 'staging'] as const
/** The kinds of job there are. */
export const jobKinds = ['sync', 'upload', 'purge'] as const

export const ProblemSchema = Type.Object({
  type: Type.String({ description: 'about:blank; the code tells the kind' }),
  title: Type.String({ description: 'the kind of problem in words' }),
  status: Type.Integer({ description: 'HTTP status' }),
  detail: Type.String({ description: 'what was tried, what came back and what to do' }),
  code: words(problemCodes, 'stable name of the kind of problem'),
  instance: Type.Optional(Type.String({ description: 'id of the request' })),
  errors: Type.Optional(Type.Array(Type.Object({ where: Type.String(), message: Type.String() }), { description: 'each fault of the request' })),
  job: Type.Optional(Type.Unsafe<object>(Type.Object({}, { description: 'the job that failed', additionalProperties: true })))
}, { $id: 'Problem', description: 'RFC 9457 problem details', examples: [problemExample] })

const PurgeRequestSchema = Type.Object({
  purgeId: Type.String(), supportId: Type.String(), count: Type.Integer(), acceptedAt: time('when Fast Purge accepted it')
})

const PurgeReportSchema = Type.Object({
  by: words([...purgeTypes], 'what is purged'),
  action: words([...purgeActions], 'how'),
  network: words([...purgeNetworks], 'where'),
  objects: Type.Array(Type.Unsafe<string | number>({}), { description: 'URLs, CP codes or tags' }),
  requests: Type.Array(PurgeRequestSchema, { description: 'the accepted requests' }),
  purgeId: Type.Optional(Type.String({ description: 'of the last request' })),
  acceptedAt: Type.Optional(time('of the last request')),
  expectedLiveAt: Type.Optional(time('when the edge should be fresh')),
  refused: Type.Optional(Type.Array(Type.Object({ object: Type.Unsafe<string | number>({}), reason: Type.String() }), { description: 'objects refused for good' })),
  escalated: Type.Optional(Type.Object({ cpCodes: Type.Array(Type.Integer()), at: time('when they took the place of the URLs') }, { description: 'too many URLs waited: these delivery CP codes were invalidated in place of those not yet purged' }))
})

export const JobSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  kind: words([...jobKinds], 'what was asked for'),
  state: words([...jobStates], 'where it stands'),
  outcome: Type.Optional(words(['uploaded', 'deleted', 'unchanged', 'purged', 'merged', 'ignored'], 'how it succeeded')),
  mergedInto: Type.Optional(Type.String({ description: 'the job that did the work' })),
  bucket: Type.Optional(Type.String()),
  key: Type.Optional(Type.String()),
  versionId: Type.Optional(Type.String()),
  rule: Type.Optional(Type.String()),
  target: Type.Optional(Type.String()),
  cpCode: Type.Optional(Type.Integer({ description: 'storage CP code' })),
  path: Type.Optional(Type.String({ description: 'NetStorage path below the CP code, raw' })),
  source: Type.Object({
    type: words(['rest', 'sns', 'events', 'reconcile'], 'where it came from'),
    token: Type.Optional(Type.String({ description: 'name of the API token' })),
    messageId: Type.Optional(Type.String()),
    topicArn: Type.Optional(Type.String())
  }),
  labels: Type.Array(Type.String()),
  attempts: Type.Integer(),
  etag: Type.Optional(Type.String()),
  sizeBytes: Type.Optional(Type.Integer()),
  sentBytes: Type.Optional(Type.Integer()),
  md5: Type.Optional(Type.String()),
  purge: Type.Optional(PurgeReportSchema),
  error: Type.Optional(Type.Ref('Problem', { description: 'why it failed; while it is queued the last failure, or why its target is paused' })),
  nextAttemptAt: Type.Optional(time('when it is tried again')),
  links: Type.Object({ self: Type.String() }),
  createdAt: time('when it was stored'),
  startedAt: Type.Optional(time('first attempt')),
  uploadedAt: Type.Optional(time('when NetStorage was seen to hold it')),
  purgedAt: Type.Optional(time('when its last purge was accepted')),
  finishedAt: Type.Optional(time('when it ended')),
  timeline: Type.Optional(Type.Array(Type.Object({ at: time('when'), step: Type.String(), detail: Type.String() }), { description: 'step by step; not in lists' }))
}, { $id: 'Job', description: 'One request, from its acceptance to its end', examples: [jobExample] })

/** A job as callers see it. */
export type Job = Omit<Static<typeof JobSchema>, 'error'> & { error?: Static<typeof ProblemSchema> }

const key = Type.String({ minLength: 1, maxLength: 1024, description: 'object key, literal, never URL-decoded' })
const bucket = Type.String({ minLength: 1, maxLength: 255 })
const labels = Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 128, ...plain }), { maxItems: 8, description: 'up to 8 strings to find the job by' }))
const cpCode = Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'storage CP code' }))
const path = Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'NetStorage path below the CP code, raw, no leading slash' }))
const force = Type.Optional(Type.Boolean({ description: 'upload even if the bytes are there already' }))
const network = Type.Optional(words([...purgeNetworks], 'network of Fast Purge'))
const action = Type.Optional(words([...purgeActions], 'invalidate = ask the origin again, delete = drop'))
const objects = <T extends TSchema>(items: T, description: string) => Type.Array(items, { minItems: 1, maxItems: 10_000, description })
const url = Type.String({ minLength: 1, maxLength: 8192 })
const tag = Type.String({ minLength: 1, maxLength: 128 })
const code = Type.Integer({ minimum: 1, maximum: 2_147_483_647 })
const strict = { additionalProperties: false }

const PurgeWishSchema = Type.Object({
  by: Type.Optional(words(['url', 'cpcode', 'tag', 'none'], 'what to purge')),
  action,
  network,
  urls: Type.Optional(objects(url, 'URLs instead of the rule\'s')),
  cpCodes: Type.Optional(objects(code, 'delivery CP codes')),
  tags: Type.Optional(objects(tag, 'cache tags'))
}, { ...strict, description: 'replaces what the rule says' })

export const SyncBodySchema = Type.Object({
  bucket,
  key,
  cpCode,
  path,
  force,
  labels,
  onMissing: Type.Optional(words(['fail', 'delete'], 'when S3 has no such object')),
  purge: Type.Optional(PurgeWishSchema)
}, { $id: 'SyncBody', ...strict, examples: syncExamples })

export const UploadBodySchema = Type.Object({
  bucket,
  key,
  cpCode,
  path,
  force,
  labels,
  versionId: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, ...plain, description: 'this version of the object, not the newest' }))
}, { $id: 'UploadBody', ...strict, examples: uploadExamples })

/** The four forms of a purge in one: exactly one of `key`, `urls`, `cpCodes` and `tags`. */
export const PurgeBodySchema = Type.Object({
  bucket: Type.Optional(bucket),
  key: Type.Optional(key),
  cpCode,
  purge: Type.Optional(PurgeWishSchema),
  urls: Type.Optional(objects(url, 'URLs or ARLs')),
  cpCodes: Type.Optional(objects(code, 'delivery CP codes')),
  tags: Type.Optional(objects(tag, 'cache tags')),
  network,
  action,
  labels
}, {
  $id: 'PurgeBody',
  ...strict,
  examples: purgeExamples,
  description: 'what to purge in one way: `bucket` and `key` together, or `urls`, or `cpCodes`, or `tags`',
  oneOf: [{ required: ['bucket', 'key'] }, { required: ['urls'] }, { required: ['cpCodes'] }, { required: ['tags'] }],
  dependentRequired: { bucket: ['key'], key: ['bucket'], cpCode: ['key'], purge: ['key'] }
})

export type SyncBody = Static<typeof SyncBodySchema>
export type UploadBody = Static<typeof UploadBodySchema>
export type PurgeBody = Static<typeof PurgeBodySchema>

const purgedThing = {
  object: Type.String({ description: 'a URL, ARL or tag, or a CP code as text' }),
  type: words(['url', 'cpcode', 'tag'], 'what it is'),
  network: words(['production', 'staging'], 'where'),
  action: words(['invalidate', 'delete'], 'how')
}

export const ObjectSchema = Type.Object({
  bucket: Type.String(),
  key: Type.String(),
  target: Type.String(),
  cpCode: Type.Integer({ description: 'storage CP code' }),
  path: Type.String({ description: 'NetStorage path below the CP code, raw' }),
  live: Type.Boolean({ description: 'NetStorage holds what S3 held when it was last looked at (or neither holds anything), and every purge owed for it was accepted' }),
  summary: Type.String({ description: 'where it is, and why it is not live yet, in plain words' }),
  reasons: Type.Array(Type.Object({
    code: Type.String({ description: 'paused, queued, retrying, uploading, settling, purging, held, failed, unseen, purge_not_asked, purge_due or never_copied; more may come' }),
    detail: Type.String({ description: 'in plain words, with what to do' }),
    jobId: Type.Optional(Type.String({ description: 'the job to look at or act upon' }))
  }), { description: 'why it is not live yet; empty if it is' }),
  present: Type.Boolean({ description: 'whether this service put something there that it did not remove again' }),
  etag: Type.Optional(Type.String({ description: 'of S3, when last copied' })),
  versionId: Type.Optional(Type.String({ description: 'of S3, when last copied' })),
  sizeBytes: Type.Optional(Type.Integer({ description: 'on NetStorage' })),
  md5: Type.Optional(Type.String({ description: 'on NetStorage' })),
  mtime: Type.Optional(time('modification time on NetStorage')),
  committedAt: Type.Optional(time('when it was verified there, or deleted')),
  jobId: Type.Optional(Type.String({ description: 'the job that did that' })),
  purges: Type.Array(Type.Object({ ...purgedThing, purgeId: Type.String(), supportId: Type.String(), acceptedAt: time('when Fast Purge accepted it') }), { description: 'the last accepted purge of each URL, CP code and tag' }),
  owed: Type.Array(Type.Object({
    ...purgedThing,
    dueAt: Type.Optional(time('when it will be sent; absent = waits for a sync or purge of the object')),
    repeat: Type.Boolean({ description: 'the second purge, for which nobody waits' })
  }), { description: 'purges that are owed' })
}, { $id: 'Object', description: 'What this service knows of one object at one target path', examples: [objectExample] })

export const PurgeSchema = Type.Object({
  id: Type.String({ format: 'uuid' }),
  type: words([...purgeTypes], 'what was purged'),
  action: words([...purgeActions], 'how'),
  network: words([...purgeNetworks], 'where'),
  edgegrid: Type.String({ description: 'name of the EdgeGrid credentials' }),
  objects: Type.Array(Type.Unsafe<string | number>({}), { description: 'URLs, ARLs, CP codes or tags' }),
  count: Type.Integer({ description: 'how many objects the request had' }),
  purgeId: Type.String({ description: 'Akamai\'s id of the purge' }),
  supportId: Type.String({ description: 'what Akamai\'s support asks for' }),
  acceptedAt: time('when Fast Purge accepted it'),
  jobIds: Type.Array(Type.String({ format: 'uuid' }), { description: 'the jobs that waited for it; none for the second purge after an upload' })
}, { $id: 'Purge', description: 'One request that Fast Purge accepted', examples: [purgeExample] })

/** An accepted request as callers see it. */
export type Purge = Static<typeof PurgeSchema>

/** A reference to a shared schema that keeps its static type. */
export const ref = <T extends TSchema & { $id?: string }>(schema: T, description: string) =>
  Type.Unsafe<Static<T>>(Type.Ref(schema.$id ?? '', { description }))

/** A response with problem details. */
export const problem = (description: string) =>
  ({ description, content: { 'application/problem+json': { schema: ref(ProblemSchema, description) } } })
