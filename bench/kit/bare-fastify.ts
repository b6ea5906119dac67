import Fastify from 'fastify'

/** What Fastify itself costs: a body is read and answered 200. Tells its parent its port, and ends with it. */
const app = Fastify()
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
app.post('/sns', async (_request, reply) => await reply.send(''))
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', () => { process.exit(0) })
process.send?.(origin)
