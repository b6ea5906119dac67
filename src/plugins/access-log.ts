import fp from 'fastify-plugin'

/** Counts and logs each answered request of a route that needs a token: who asked for what, never what for. */
export default fp(async app => {
  app.addHook('onResponse', async (request, reply) => {
    const { config, schema } = request.routeOptions
    if (config.scope === undefined) return
    const operation = schema?.operationId ?? 'unknown'
    const { token } = request.caller
    app.metrics.requests.inc({ operation, status: String(reply.statusCode), token: token ?? '' })
    // Reading is frequent and changes nothing.
    const level = request.method === 'GET' || request.method === 'HEAD' ? 'debug' : 'info'
    request.log[level]({ operation, token, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'answered')
  })
}, { name: 'access-log', dependencies: ['auth', 'clients'] })
