import { connect, type AddressInfo, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { bucket, startSandbox } from '../../../sandbox/sandbox.ts'
import { buildApp } from '../../../src/app.ts'
import { testConfig } from '../../app.ts'
import { makeDataDir } from '../../data-dir.ts'

const sandbox = await startSandbox()
Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const app: FastifyInstance = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: await makeDataDir(t), PURGE_REPEAT_SECONDS: '0' }), { logger: false })
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})

/** Every statement that went to the database. */
const statements: string[] = []
const executor = app.clients.store.kysely.getExecutor()
const execute = executor.executeQuery.bind(executor)
executor.executeQuery = async query => {
  statements.push(query.sql)
  return await execute(query)
}
/** One for all who listen, however many they are. */
const isLook = (text: string) => text.includes('max(revision)')
/** One for a few of them. */
const isForSome = (text: string) => text.startsWith('select * from "jobs" where "id"')

const nextTurn = async (ms = 20) => { await new Promise(resolve => { setTimeout(resolve, ms) }) }
async function until (is: () => boolean, what: string): Promise<void> {
  for (const give = Date.now() + 30_000; !is(); await nextTurn()) if (Date.now() > give) throw new Error(`it never was so: ${what}`)
}
/** What the process holds, of one kind. */
const held = (kind: 'TCPSocketWrap' | 'Timeout') => process.getActiveResourcesInfo().filter(each => each === kind).length
const openStreams = async () => {
  await nextTurn(1100)
  return Number(/edgeferry_open_streams (\d+)/.exec((await app.inject('/metrics')).body)?.[1])
}

/** Asks over a connection of its own; `said` is what came back so far. */
function ask (method: string, path: string, prefer = ''): { socket: Socket, said: () => string } {
  let said = ''
  const socket = connect(port, '127.0.0.1', () => { socket.write(`${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${prefer}\r\n`) })
  socket.on('data', data => { said += data.toString() }).on('error', () => {})
  return { socket, said: () => said }
}

/** An upload that lasts until it is cancelled. */
async function startLong (key: string): Promise<{ id: string, cancel: () => Promise<void> }> {
  sandbox.s3.putSynthetic(bucket, key, { sizeBytes: 50_000_000, seed: 1 })
  const remove = sandbox.s3.faults.add({ match: { method: 'GET', path: new RegExp(key) }, slow: { bytesPerSecond: 200_000 } })
  const { id } = (await app.inject({ method: 'POST', url: '/sync', payload: { bucket, key } })).json() as { id: string }
  while ((await app.inject(`/jobs/${id}`)).json().sentBytes === undefined) await nextTurn()
  return { id, async cancel () { await app.inject({ method: 'POST', url: `/jobs/${id}/cancel` }); remove() } }
}

t.test('streams on which nothing happens ask the database nothing, and closing them leaves nothing behind', async t => {
  const sync = async (key: string) => (await app.inject({ method: 'POST', url: '/purge', payload: { urls: [`https://www.example.com/${key}`] } })).json().id as string
  const id = await sync('warm-up')
  await app.inject({ url: `/jobs/${id}`, headers: { prefer: 'wait=30' } })
  const { store } = app.clients
  await store.kysely.updateTable('jobs').set({ state: 'held', finished_at: null }).where('id', '=', id).execute()
  const before = { sockets: held('TCPSocketWrap'), timers: held('Timeout') }

  const streams = Array.from({ length: 500 }, (_, n) => ask('GET', n % 5 === 0 ? '/events/stream' : `/jobs/${id}/events`))
  await until(() => streams.every(({ said }) => said().includes('event: held')), 'all are told of the present')
  t.ok(held('Timeout') < before.timers + 20, 'they share their timers')
  const from = statements.length
  // A minute passes.
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => now.call(performance) + 60_000
  await until(() => streams.every(({ said }) => said().split(':\n\n').length > 2), 'all hear a comment')
  await until(() => statements.slice(from).filter(isLook).length > 5, 'the one look goes on')
  t.same(statements.slice(from).filter(isForSome), [])

  for (const { socket } of streams) socket.resetAndDestroy()
  await until(() => held('TCPSocketWrap') <= before.sockets, 'all connections are closed')
  t.equal(await openStreams(), 0)
  let looks: number
  do {
    looks = statements.filter(isLook).length
    await nextTurn(500)
  } while (statements.filter(isLook).length > looks)
  t.pass('nobody looks any more')
})

t.test('who hangs up before the answer begins is no stream', async t => {
  const before = held('TCPSocketWrap')
  const long = await startLong('hang-up.bin')
  for (const path of ['/events/stream', `/jobs/${long.id}/events`]) {
    const hasty = Array.from({ length: 50 }, () => ask('GET', path))
    await Promise.all(hasty.map(async ({ socket }) => { await new Promise(resolve => { socket.once('connect', () => { socket.end(() => { socket.destroy() }) }).once('close', resolve) }) }))
  }
  await long.cancel()
  t.equal(await openStreams(), 0)
  await until(() => held('TCPSocketWrap') <= before + 5, 'all connections are closed')
})

t.test('who waits and hangs up is forgotten at once, and who stays is answered without another question', async t => {
  const long = await startLong('waiting.bin')
  const before = held('Timeout')
  const gone = Array.from({ length: 100 }, () => ask('GET', `/jobs/${long.id}`, 'prefer: wait=55\r\n'))
  await until(() => held('Timeout') >= before + 100, 'all wait')
  for (const { socket } of gone) socket.destroy()
  await until(() => held('Timeout') < before + 20, 'nobody waits any more')

  // An id means the same however it is written.
  const stay = Array.from({ length: 100 }, (_, n) => ask('GET', `/jobs/${n % 2 === 0 ? long.id : long.id.toUpperCase()}`, 'prefer: wait=55\r\n'))
  await until(() => held('Timeout') >= before + 100, 'all wait')
  await nextTurn(300)
  const from = statements.length
  await long.cancel()
  await until(() => stay.every(({ said }) => said().includes('"code":"cancelled"')), 'all are answered')
  t.ok(statements.slice(from).filter(isForSome).length < 20, 'the one look was enough for all')
  for (const { socket } of stay) socket.destroy()
})
