import { fork } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

/** Requests that stay open, each over a connection of its own. */
export interface Wanted { method: 'GET' | 'POST', path: string, prefer?: string, body?: object }

/** What came on the streams since the last look: messages, and how late the ends of jobs were told (ms). */
export interface Heard { messages: number, comments: number, lateMs: number[], answered: number }

/** Thousands of callers in a process of their own, which ask and then hold the line. */
export interface Crowd {
  /** Resolves when all are answered a first byte, or (those that `wait`) have asked. */
  open: (wanted: Wanted[], options: { waits: boolean, from: string }) => Promise<void>
  heard: () => Promise<Heard>
  /** All leave at once: every other one without a word. */
  leave: () => Promise<void>
  close: () => Promise<void>
}

interface Ask { id: number, method: 'open' | 'heard' | 'leave', origin: string, wanted: Wanted[], waits: boolean, from: string }
interface Reply { id: number, result?: Heard }

/** How many connect at once: more than the backlog holds would be kept waiting by the kernel, not by the service. */
const connectingAtOnce = 100

export async function startCrowd (origin: string): Promise<Crowd> {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: ['--max-semi-space-size=32'] })
  const exited = new Promise<void>(resolve => { child.once('exit', () => { resolve() }) })
  const pending = new Map<number, (result: Heard) => void>()
  child.on('message', ({ id, result }: Reply) => {
    pending.get(id)?.(result as Heard)
    pending.delete(id)
  })
  let last = 0
  const ask = async (method: Ask['method'], more: Partial<Ask> = {}): Promise<Heard> => await new Promise((resolve, reject) => {
    pending.set(++last, resolve)
    child.once('exit', () => { reject(new Error('the crowd is gone')) })
    child.send({ id: last, method, origin, wanted: [], waits: false, from: '', ...more } satisfies Ask)
  })
  child.setMaxListeners(0)
  return {
    open: async (wanted, options) => { await ask('open', { wanted, ...options }) },
    heard: async () => await ask('heard'),
    leave: async () => { await ask('leave') },
    async close () {
      child.disconnect()
      await exited
    }
  }
}

const sockets = new Set<Socket>()
let heard: Heard = { messages: 0, comments: 0, lateMs: [], answered: 0 }

function countMessages (text: string): void {
  for (let at = text.indexOf('\nevent: '); at !== -1; at = text.indexOf('\nevent: ', at + 1)) heard.messages++
  if (text.includes(':\n\n')) heard.comments++
  for (const [, time = ''] of text.matchAll(/"finishedAt":"([^"]+)"/g)) heard.lateMs.push(Date.now() - Date.parse(time))
}

/** Asks over a new connection, and resolves when it is answered, or was asked. */
async function openOne ({ method, path, prefer, body }: Wanted, { origin, waits, from }: Ask): Promise<void> {
  const { hostname, port } = new URL(origin)
  const text = body === undefined ? '' : JSON.stringify(body)
  const socket = connect({ host: hostname, port: Number(port), localAddress: from })
  sockets.add(socket)
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.write(`${method} ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n${prefer === undefined ? '' : `prefer: ${prefer}\r\n`}${text === '' ? '' : `content-type: application/json\r\ncontent-length: ${text.length}\r\n`}\r\n${text}`, () => { if (waits) resolve() })
    })
    let isFirst = true
    socket.on('data', data => {
      const said = data.toString('latin1')
      if (isFirst && !said.startsWith('HTTP/1.1 20')) reject(new Error(`${path} was answered ${said}`))
      isFirst = false
      if (waits) heard.answered++
      else countMessages(said)
      resolve()
    })
  })
  // Once it is open, it may end as it likes.
  socket.on('error', () => {})
}

async function answer (ask: Ask): Promise<Heard | undefined> {
  if (ask.method === 'open') {
    const left = ask.wanted.values()
    await Promise.all(Array.from({ length: connectingAtOnce }, async () => { for (const wanted of left) await openOne(wanted, ask) }))
  } else if (ask.method === 'heard') {
    const said = heard
    heard = { messages: 0, comments: 0, lateMs: [], answered: 0 }
    return said
  } else {
    await Promise.all([...sockets].map(async (socket, index) => {
      const closed = new Promise(resolve => { socket.once('close', resolve) })
      if (index % 2 === 0) socket.resetAndDestroy()
      else socket.destroy()
      await closed
    }))
    sockets.clear()
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.on('message', (ask: Ask) => { answer(ask).then(result => { process.send?.({ id: ask.id, ...(result === undefined ? {} : { result }) } satisfies Reply) }, error => { throw error }) })
  process.once('disconnect', () => { process.exit(0) })
}
