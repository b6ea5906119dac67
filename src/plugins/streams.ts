import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { EventStream } from './event-stream.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Answers with a stream of events, which ends with its reader, with the service, or when the caller's token does. */
    openStream: (request: FastifyRequest, reply: FastifyReply) => EventStream
  }
}

const tendMs = 1000

/** Keeps the open streams: one clock for all, and an end for all. */
export default fp(async app => {
  const open = new Map<EventStream, string | undefined>()
  app.decorate('openStream', (request, reply) => {
    const stream = new EventStream(request, reply, () => { open.delete(stream) })
    if (stream.isOpen) open.set(stream, request.caller.token)
    return stream
  })
  const clock = setInterval(() => {
    app.metrics.streams.set(open.size)
    for (const [stream, token] of open) {
      if (app.isTokenValid(token)) stream.tend()
      else stream.end()
    }
  }, tendMs)
  // Readers come back to a replica that stays.
  app.addHook('preClose', async () => {
    clearInterval(clock)
    for (const stream of open.keys()) stream.end()
  })
}, { name: 'streams', dependencies: ['auth', 'clients'] })
