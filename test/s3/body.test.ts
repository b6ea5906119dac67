import { once } from 'node:events'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { AppError } from '../../src/errors.ts'
import { createResumingBody, releaseChunk } from '../../src/s3/body.ts'

const bytes = Buffer.from('0123456789')

/** A stream that gives `text` and then breaks, ends, or waits in silence. */
function part (text: string, then: 'end' | 'break' | 'silence' = 'end'): Readable {
  const chunks = [...text].map((letter) => Buffer.from(letter))
  // Reads nothing ahead: a stream that breaks loses what it holds, which would be asked for again.
  return new Readable({
    highWaterMark: 0,
    read () {
      const chunk = chunks.shift()
      if (chunk !== undefined) this.push(chunk)
      else if (then === 'end') this.push(null)
      else if (then === 'break') this.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
    }
  })
}

const toError = (error: unknown) => error instanceof AppError ? error : new AppError('s3_unavailable', `broke: ${(error as Error).message}.`)

/** A body over the given parts, and the offsets at which it was taken up again. */
function make (parts: Array<Readable | AppError>, { sizeBytes = bytes.length, stallTimeoutMs = 10_000, signal }: { sizeBytes?: number, stallTimeoutMs?: number, signal?: AbortSignal } = {}) {
  const offsets: number[] = []
  const next = () => parts.shift() ?? new AppError('s3_unavailable', 'nothing left.')
  const first = next() as Readable
  const body = createResumingBody({
    stream: first,
    sizeBytes,
    stallTimeoutMs,
    toError,
    signal,
    reopen: async (offset) => {
      offsets.push(offset)
      const stream = next()
      if (stream instanceof AppError) throw stream
      return stream
    }
  })
  return { body, offsets, first }
}

t.test('a whole body passes through, an empty one too', async (t) => {
  const whole = make([part('0123456789')])
  t.same(await buffer(whole.body), bytes)
  t.same(whole.offsets, [])
  t.same(await buffer(make([part('')], { sizeBytes: 0 }).body), Buffer.alloc(0))
})

t.test('a body goes on where it broke, ended early or fell silent', async (t) => {
  const { body, offsets, first } = make([part('012', 'break'), part('34'), part('56', 'silence'), part('789')], { stallTimeoutMs: 50 })
  t.same(await buffer(body), bytes)
  t.same(offsets, [3, 5, 7])
  t.ok(first.destroyed)
})

t.test('chunks that wait come one by one, none of them copied, and no more than half a mebibyte of them', async (t) => {
  const chunks = Array.from({ length: 8 }, () => Buffer.allocUnsafeSlow(200 * 1024))
  const given: Buffer[] = []
  const stream = new Readable({
    highWaterMark: 0,
    read () {
      const chunk = chunks[given.length]
      if (chunk !== undefined) given.push(chunk)
      this.push(chunk ?? null)
    }
  })
  const { body } = make([stream], { sizeBytes: 8 * 200 * 1024 })
  await once(body, 'readable')
  while (!stream.isPaused()) await new Promise((resolve) => setImmediate(resolve))
  t.equal(given.length, 3)
  const got: unknown[] = []
  for await (const chunk of body) got.push(chunk)
  t.ok(got.length === 8 && got.every((chunk, index) => chunk === chunks[index]))
})

t.test('a break after the last byte is none', async (t) => {
  const { body, offsets } = make([part('0123456789', 'break')])
  t.same(await buffer(body), bytes)
  t.same(offsets, [])
})

t.test('three resumes without a byte are the end, and progress starts the count anew', async (t) => {
  const given = make([part('012', 'break'), part('', 'break'), new AppError('s3_silent', 'silent.'), part('3', 'break'), part('', 'break'), part('456789')])
  t.same(await buffer(given.body), bytes)
  t.same(given.offsets, [3, 3, 3, 4, 4])
  const lost = make([part('012', 'break'), part('', 'break'), part('', 'break'), new AppError('s3_silent', 'silent.'), part('3456789')])
  await t.rejects(buffer(lost.body), { code: 's3_silent', message: 'silent. The body had broken after 3 of 10 bytes, and 3 attempts to resume it brought no more.' })
  t.same(lost.offsets, [3, 3, 3])
})

t.test('what a resume cannot mend ends the body at once', async (t) => {
  for (const code of ['object_changed', 's3_forbidden'] as const) {
    const { body, offsets } = make([part('012', 'break'), new AppError(code, 'no.'), part('3456789')])
    await t.rejects(buffer(body), { code, message: 'no.' })
    t.same(offsets, [3])
  }
})

t.test('more bytes than announced are another object', async (t) => {
  await t.rejects(buffer(make([part('0123456789x')]).body), { code: 'object_changed' })
})

t.test('back-pressure is no silence', async (t) => {
  const { body, offsets } = make([part('0123456789')], { stallTimeoutMs: 20 })
  await once(body, 'readable')
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.same(await buffer(body), bytes)
  t.same(offsets, [])
})

t.test('destroying the body or aborting destroys the stream behind it, also while nobody reads', async (t) => {
  const closed = make([part('012', 'silence')])
  closed.body.destroy()
  t.ok(closed.first.destroyed)

  const controller = new AbortController()
  const reason = new Error('cancelled')
  const aborted = make([part('012', 'silence')], { signal: controller.signal })
  const failed = t.rejects(buffer(aborted.body), reason)
  controller.abort(reason)
  await failed
  t.ok(aborted.first.destroyed)

  const late = make([part('012')], { signal: controller.signal })
  const [error] = await once(late.body, 'error')
  t.equal(error, reason)
  t.ok(late.first.destroyed)
})

t.test('a body that is closed between two attempts makes no more of them', async (t) => {
  const { body, offsets } = make([part('', 'break'), part('', 'break'), part('0123456789')])
  body.resume()
  while (offsets.length < 1) await new Promise((resolve) => setImmediate(resolve))
  body.destroy()
  await once(body, 'close')
  t.ok(offsets.length <= 2)
})

t.test('a body that is closed while it is taken up again fails nobody', async (t) => {
  const body = createResumingBody({
    stream: part('', 'break'),
    sizeBytes: 10,
    stallTimeoutMs: 1000,
    toError,
    reopen: async (offset, signal) => {
      setImmediate(() => body.destroy())
      await once(signal, 'abort')
      throw signal.reason
    }
  })
  body.resume()
  await once(body, 'close')
  t.ok(body.destroyed)
})

t.test('a body that is closed just as it was taken up again lets go of the new stream', async (t) => {
  const second = part('0123456789')
  const body = createResumingBody({
    stream: part('', 'break'),
    sizeBytes: 10,
    stallTimeoutMs: 1000,
    toError,
    reopen: async () => {
      body.destroy()
      return second
    }
  })
  body.resume()
  await once(second, 'close')
  t.ok(second.destroyed)
})

t.test('a chunk that is released gives its memory back, unless others have a part in it', (t) => {
  const whole = Buffer.allocUnsafeSlow(1000)
  releaseChunk(whole)
  t.equal(whole.length, 0)
  const part = Buffer.from('a part of something larger').subarray(2)
  releaseChunk(part)
  t.equal(part.toString(), 'part of something larger')
  t.end()
})
