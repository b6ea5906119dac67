import { get, type ClientRequest, type IncomingMessage } from 'node:http'

/** One server-sent event as it arrived. */
export interface ReceivedEvent { id: number, name: string, data: { id: string, state: string, finishedAt?: string } & Record<string, unknown> }

/** A reader of server-sent events over a socket, which waits for what it wants to see. */
export interface EventSource {
  status: number
  headers: IncomingMessage['headers']
  events: ReceivedEvent[]
  comments: () => number
  /** The first event, so far or to come, that is wanted. Rejects if the stream ends without it. */
  find: (isWanted: (event: ReceivedEvent) => boolean) => Promise<ReceivedEvent>
  ended: Promise<void>
  pause: () => void
  resume: () => void
  close: () => void
}

/** Opens a stream; resolves when its headers have come. */
export async function openEvents (url: string, headers: Record<string, string> = {}): Promise<EventSource> {
  const request: ClientRequest = get(url, { headers, agent: false })
  const response = await new Promise<IncomingMessage>((resolve, reject) => { request.once('response', resolve).once('error', reject) })
  const events: ReceivedEvent[] = []
  const waiting = new Set<() => void>()
  let comments = 0
  let text = ''
  let over = false
  const ended = new Promise<void>(resolve => {
    response.once('close', () => {
      over = true
      for (const look of waiting) look()
      resolve()
    })
  })
  request.on('error', () => {})
  response.on('error', () => {})
  response.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      if (lines[0]?.startsWith(':') === true) {
        comments++
        continue
      }
      const [id, name, data] = ['id: ', 'event: ', 'data: '].map((start, index) => lines[index]?.startsWith(start) === true ? lines[index].slice(start.length) : undefined)
      events.push({ id: Number(id), name: name ?? '', data: JSON.parse(data ?? '') as ReceivedEvent['data'] })
    }
    for (const look of waiting) look()
  })
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    comments: () => comments,
    ended,
    find: async isWanted => await new Promise((resolve, reject) => {
      const look = (): void => {
        const found = events.find(isWanted)
        if (found === undefined && !over) return
        waiting.delete(look)
        if (found === undefined) reject(new Error(`the stream ended after ${events.map(event => event.name).join(', ')}`))
        else resolve(found)
      }
      waiting.add(look)
      look()
    }),
    pause: () => { response.pause() },
    resume: () => { response.resume() },
    close: () => { request.destroy() }
  }
}
