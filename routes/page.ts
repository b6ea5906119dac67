import Type from 'typebox'
import { AppError } from '../src/errors.ts'

/** The members of every list's query that turn its pages. */
export const pageMembers = {
  limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
  after: Type.Optional(Type.String({ pattern: '^[\\w-]{48}$', description: '`next` of the page before' }))
}

/** The member of every list's answer that leads on. */
export const next = Type.Optional(Type.String({ description: 'cursor of the next page; absent on the last' }))

/**
 * One page of a list in the order of ids, newest first: `read` gets the id after which it begins, and one more than fits
 * as its limit. Throws `invalid_request` for a cursor that no page gave.
 */
export async function readPage<T extends { id: string }> ({ limit, after }: { limit: number, after?: string }, read: (range: { limit: number, after?: string }) => Promise<T[]>): Promise<{ items: T[], next?: string }> {
  const cursor = after === undefined ? undefined : Buffer.from(after, 'base64url').toString()
  if (cursor !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cursor)) throw new AppError('invalid_request', 'The cursor "after" is not one this service gave: use "next" of the page before.')
  const items = await read({ limit: limit + 1, ...(cursor === undefined ? {} : { after: cursor }) })
  const page = items.slice(0, limit)
  const last = page.at(-1)
  return { items: page, ...(items.length > limit && last !== undefined ? { next: Buffer.from(last.id).toString('base64url') } : {}) }
}
