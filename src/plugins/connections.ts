import type { Socket } from 'node:net'
import fp from 'fastify-plugin'

/**
 * Closes the connections on which nobody has asked anything yet, as clients and load balancers open them in advance: Node
 * takes them for busy, and the stop would wait for them until its time is over.
 */
export default fp(async app => {
  const silent = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    silent.add(socket)
    socket.once('close', () => { silent.delete(socket) })
  })
  app.server.on('request', ({ socket }) => { silent.delete(socket) })
  app.addHook('preClose', async () => {
    for (const socket of silent) socket.destroy()
  })
}, { name: 'connections' })
