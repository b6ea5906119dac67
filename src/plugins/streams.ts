import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { EventStream } from './event-stream.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Answers with a stream of events, which ends with its reader, with the service, or when the caller's token does. */
    openStream: (request: FastifyRequest, reply: FastifyReply) => EventStream
  }
}

/** All streams are tended once in this time, a part of them at a time. */
const tendMs = 1000
const parts = 20

/** Keeps the open streams: one clock for all, and an end for all. */
export default fp(async app => {
  const open = new Map<EventStream, string | undefined>()
  app.decorate('openStream', (request, reply) => {
    const stream = new EventStream(request, reply, () => { open.delete(stream) })
    if (stream.isOpen) open.set(stream, request.caller.token)
    return stream
  })
  let part = 0
  let round = open.entries()
  let share = 0
  const clock = setInterval(() => {
    if (part === 0) {
      app.metrics.streams.set(open.size)
      round = open.entries()
      share = Math.ceil(open.size / parts)
    }
    part = (part + 1) % parts
    const isValid = new Map<string | undefined, boolean>()
    for (let left = share; left > 0; left--) {
      const next = round.next()
      if (next.done === true) break
      const [stream, token] = next.value
      if (!isValid.has(token)) isValid.set(token, app.isTokenValid(token))
      if (isValid.get(token) === true) stream.tend()
      else stream.end()
    }
  }, tendMs / parts)
  // Readers come back to a replica that stays.
  app.addHook('preClose', async () => {
    clearInterval(clock)
    for (const stream of open.keys()) stream.end()
  })
}, { name: 'streams', dependencies: ['auth', 'clients'] })
