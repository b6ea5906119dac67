import Type from 'typebox'
import { AppError } from '../src/errors.ts'
import type { JobFilter } from '../src/jobs/list.ts'
import { jobKinds, plain } from '../src/schemas.ts'

/** A list of which one is enough. */
export const oneOf = <const T extends readonly string[]>(values: T, description: string) =>
  Type.Optional(Type.Array(Type.Unsafe<T[number]>(Type.String({ enum: [...values] })), { minItems: 1, maxItems: 16, description }))
/** One word, or a list of which one is enough: JSON can tell them apart, so nobody need wrap a single one. */
export const oneOrMore = <const T extends readonly string[]>(values: T, description: string) =>
  Type.Optional(Type.Union([Type.Unsafe<T[number]>(Type.String({ enum: [...values] })), Type.Array(Type.Unsafe<T[number]>(Type.String({ enum: [...values] })), { minItems: 1, maxItems: 16 })], { description }))
const text = (description: string, maxLength = 1024) => Type.Optional(Type.String({ maxLength, ...plain, description }))
const moment = (description: string) => Type.Optional(Type.String({ format: 'date-time', description, examples: ['2026-11-24T09:30:00Z'] }))

/** By what jobs can be told apart, wherever they are listed or acted upon. */
export const filterMembers = {
  kind: oneOf(jobKinds, 'what was asked for'),
  bucket: text('of this bucket', 255),
  key: text('of this key'),
  prefix: text('of keys that begin with it'),
  label: text('with this label', 128),
  since: moment('created then or later'),
  until: moment('created before')
}

interface Given { state?: string | string[], kind?: string | string[], bucket?: string, key?: string, prefix?: string, label?: string, since?: string, until?: string }

/** What a caller asked for, as the work knows it. Throws `invalid_request` for a time that is none. */
export function toFilter ({ state, kind, since, until, ...filter }: Given): Omit<JobFilter, 'limit' | 'after'> {
  return {
    ...filter,
    ...(state === undefined ? {} : { states: [state].flat() }),
    ...(kind === undefined ? {} : { kinds: [kind].flat() }),
    ...(since === undefined ? {} : { since: readTime(since) }),
    ...(until === undefined ? {} : { until: readTime(until) })
  }
}

const lastYear = Date.UTC(9999, 11, 31)

/** A moment of RFC 3339, kept to the years that every database knows; a leap second is the one before it. */
export function readTime (text: string): Date {
  const ms = Date.parse(text.replace(/:60(?=[.Z+-])/i, ':59'))
  if (Number.isNaN(ms)) throw new AppError('invalid_request', `${text} is no time: write one such as 2026-11-24T09:30:00Z.`)
  return new Date(Math.min(Math.max(ms, 0), lastYear))
}
