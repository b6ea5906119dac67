import { createHash } from 'node:crypto'
import t from 'tap'
import type { FaultRule } from '../../sandbox/kit/faults.ts'
import { startNetStorage, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import { account, ask, type SignedRequest } from './signed-request.ts'

const path = '/123456/file.bin'
const body = 'new '.repeat(50_000)
const md5 = (text: string) => createHash('md5').update(text).digest('hex')
type Send = (action: string, more?: Partial<SignedRequest>) => ReturnType<typeof ask>

/** A store that holds an old object, with one fault that strikes once. */
async function start (t: { teardown: (fn: () => Promise<void>) => void }, rule: FaultRule, options: Partial<NetStorageOptions> = {}) {
  const emulator = await startNetStorage({ accounts: [account], ...options })
  t.teardown(emulator.close)
  emulator.store.put(path, 'old', { mtime: 5 })
  emulator.faults.add({ times: 1, ...rule })
  const send: Send = async (action, more = {}) => await ask(emulator.origin, { path, action, ...(action === 'upload' ? { body } : {}), ...more })
  return { ...emulator, send, kept: () => emulator.store.get(path)?.body?.toString() }
}

/** Sends what will hang, waits until `seen` holds, and goes away. Returns why it ended: the server must not have. */
async function giveUp (send: Send, action: string, seen: () => boolean): Promise<string> {
  const client = new AbortController()
  const answer = send(action, { signal: client.signal }).then(() => 'an answer', (error: Error) => error.name)
  while (!seen()) await new Promise(resolve => { setImmediate(resolve) })
  // Whatever the server did by now has arrived when another request is answered.
  await send('stat')
  client.abort()
  return await answer
}

t.test('a forced status has no effect, with its body and headers', async t => {
  for (const action of ['upload', 'delete', 'stat']) {
    const { send, kept, log } = await start(t, { status: 503, body: 'busy', headers: { 'Retry-After': '7' } })
    t.match(await send(action), { status: 503, text: 'busy', headers: { 'retry-after': '7' } }, action)
    t.equal(kept(), 'old')
    t.match(log, [{ action, status: 503 }])
    t.equal((await send(action)).status, 200, 'once')
  }
  const { send } = await start(t, { status: 500 })
  t.equal((await send('stat')).text, 'forced\n')
})

t.test('a forced 2xx is the answer of what was done', async t => {
  for (const [action, effect] of [['upload', body], ['delete', undefined]] as const) {
    const { send, kept } = await start(t, { status: 204 })
    t.match(await send(action), { status: 204, text: '' }, action)
    t.equal(kept(), effect)
  }
  const { send } = await start(t, { status: 204 })
  t.equal((await send('stat', { path: '/123456/none' })).status, 404, 'but not of what could not be')
})

t.test('a request is held until the test lets it go', async t => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { send, faults, kept } = await start(t, { until: promise })
  const held = send('upload')
  while (faults.rules.length > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal((await send('stat')).status, 200)
  t.equal(kept(), 'old')
  resolve()
  t.equal((await held).status, 200)
  t.equal(kept(), body)
})

t.test('latency comes before all else, and holds up nobody else', async t => {
  const { send, faults, kept, log } = await start(t, { latencyMs: 200 })
  const slow = send('upload')
  while (faults.rules.length > 0) await new Promise(resolve => { setImmediate(resolve) })
  t.equal((await send('stat')).status, 200)
  t.equal(kept(), 'old')
  t.equal((await slow).status, 200)
  t.match(log, [{ action: 'stat' }, { action: 'upload' }])
})

t.test('a connection is cut before any effect, or in the middle of the body', async t => {
  for (const [rule, action] of [[{ reset: 'before' }, 'delete'], [{ reset: 'before' }, 'upload'], [{ reset: 'mid-body' }, 'upload'], [{ reset: 'mid-body', afterBytes: 100_000 }, 'upload'], [{ reset: 'mid-body' }, 'stat'], [{ reset: 'mid-body', afterBytes: 20 }, 'stat']] as Array<[FaultRule, string]>) {
    const { send, kept, log } = await start(t, rule)
    await t.rejects(send(action), { code: /ECONNRESET|EPIPE/ }, `${JSON.stringify(rule)} in ${action}`)
    t.equal(kept(), 'old')
    t.match(log, [{ action, status: 0 }])
    if (action === 'upload' && rule.afterBytes !== undefined) t.ok((log[0]?.bytes ?? 0) >= rule.afterBytes)
    t.equal((await send(action)).status, 200, 'once')
  }
})

t.test('silence before any effect or in the middle of a body leaves the old object', async t => {
  for (const [rule, action] of [[{ hang: 'before' }, 'upload'], [{ hang: 'before' }, 'delete'], [{ hang: 'mid-body', afterBytes: 20 }, 'stat'], [{ hang: 'mid-body', afterBytes: 1000 }, 'upload']] as Array<[FaultRule, string]>) {
    const { send, kept, log } = await start(t, rule)
    t.equal(await giveUp(send, action, () => log.length === 1), 'AbortError')
    t.match(log[0], { action, status: 0 })
    t.equal(kept(), 'old', `${JSON.stringify(rule)} in ${action}`)
  }
})

t.test('an upload that hung is over for the server: the next on its path is no second at once', async t => {
  const { send, kept, log, mostUploadsAtOnce } = await start(t, { hang: 'mid-body' })
  t.equal(await giveUp(send, 'upload', () => log.length === 1), 'AbortError')
  t.equal((await send('upload')).status, 200)
  t.equal(kept(), body)
  t.equal(mostUploadsAtOnce(), 1)
})

t.test('silence after the commit: done, and nobody was told', async t => {
  for (const [action, effect] of [['upload', body], ['delete', undefined]] as const) {
    const { send, kept, log } = await start(t, { hang: 'after-commit' })
    t.equal(await giveUp(send, action, () => log.length === 1), 'AbortError')
    t.match(log[0], { action, status: 0, reason: /not acknowledged/ })
    t.equal(kept(), effect)
  }
})

t.test('a slow server gets and gives every byte', async t => {
  for (const [action, bytesPerSecond] of [['upload', 5_000_000], ['download', 200]] as const) {
    const { send, kept } = await start(t, { slow: { bytesPerSecond } })
    const answer = await send(action)
    t.equal(answer.status, 200)
    t.equal(action === 'upload' ? kept() : answer.text, action === 'upload' ? body : 'old')
  }
})

t.test('a slow answer holds up nobody else', async t => {
  const { send, store, log } = await start(t, { slow: { bytesPerSecond: 200 } })
  store.put(path, 'x'.repeat(100))
  let over = false
  const slow = send('download').then(answer => {
    over = true
    return answer
  })
  while (log.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  await send('stat')
  t.notOk(over)
  t.equal((await slow).text, 'x'.repeat(100))
})

t.test('a replica that lags shows what was before, or nothing', async t => {
  const { send, faults } = await start(t, { kind: 'stale-stat', match: { action: 'stat' } })
  await send('upload')
  t.match(await send('stat'), { status: 200, text: new RegExp(md5('old')) })
  t.match(await send('stat'), { status: 200, text: new RegExp(md5(body)) })
  faults.add({ kind: 'stale-stat' })
  await send('upload', { path: '/123456/fresh' })
  t.equal((await send('stat', { path: '/123456/fresh' })).status, 404)
  faults.clear()
  faults.add({ kind: 'missing-stat' })
  t.equal((await send('stat')).status, 404)
})

t.test('a store may keep other bytes than it acknowledged, or none', async t => {
  for (const [kind, size, sum] of [['corrupt-store', body.length, md5('x'.repeat(1000))], ['truncate-store', body.length / 2, md5(body.slice(0, body.length / 2))], ['lose-upload', 3, md5('old')]] as const) {
    const { send, store, log } = await start(t, { kind })
    t.equal((await send('upload')).status, 200, kind)
    t.match(store.get(path), { sizeBytes: size, md5: sum })
    t.match(log, [{ status: 200, md5: md5(body) }], 'the log knows what came')
  }
  const { send, store } = await start(t, { kind: 'truncate-store' }, { keepBodiesUpTo: 10 })
  await send('upload')
  t.match(store.get(path), { sizeBytes: body.length / 2, md5: md5('') })
})

t.test('a fault that cannot be sent cuts the connection and nothing else', async t => {
  const { send } = await start(t, { status: 500, headers: { 'X-Broken': 'a\nb' } })
  await t.rejects(send('stat'), { code: 'ECONNRESET' })
  t.equal((await send('stat')).status, 200)
})
