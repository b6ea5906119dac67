import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { startNetStorage, type NetStorageOptions } from '../../sandbox/netstorage/server.ts'
import type { Call, Result } from './netstorageapi.ts'

const run = promisify(execFile)
const account = { keyName: 'svc-upload', key: 'Zx9-Secret_Key' }
const dir = mkdtempSync(join(tmpdir(), 'edgeferry-clients-'))
t.teardown(() => { rmSync(dir, { recursive: true }) })

/** As strict as can be: the replay check too. */
async function start (t: { teardown: (fn: () => Promise<void>) => void }, options: Partial<NetStorageOptions> = {}) {
  const emulator = await startNetStorage({ accounts: [{ ...account, cpCodes: [123456] }], replayCheck: true, ...options })
  t.teardown(emulator.close)
  return emulator
}

t.test('netstorageapi does all it can do', async t => {
  const { port, store, log } = await start(t)
  const file = join(dir, 'source.bin')
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256))
  writeFileSync(file, bytes)
  const md5 = createHash('md5').update(bytes).digest('hex')
  const calls: Array<[Call, object]> = [
    [['upload', file, '/123456/d/a b.bin'], { status: 200, answer: { message: 'Request Processed.' } }],
    [['stat', '/123456/d/a b.bin'], { status: 200, answer: { stat: { attribs: { directory: '/123456/d' }, file: [{ type: 'file', name: 'a b.bin', size: '70000', md5 }] } } }],
    [['dir', '/123456/d'], { status: 200, answer: { stat: { file: [{ name: 'a b.bin' }] } } }],
    [['dir', { path: '/123456', actions: { max_entries: 1, encoding: 'utf-8', slash: 'both' } }], { status: 200, answer: { stat: { file: [{ name: 'd' }] } } }],
    [['list', { path: '/123456/d', actions: { max_entries: 1, mtime_all: 'yes' } }], { status: 200, answer: { list: { file: [{ name: '123456/d/a b.bin' }] } } }],
    [['du', '/123456/d'], { status: 200, answer: { du: { 'du-info': [{ files: '1', bytes: '70000' }] } } }],
    [['download', '/123456/d/a b.bin', join(dir, 'copy.bin')], { status: 200, answer: { message: 'Download Done.' } }],
    // With POST and no length of a body but Node's own, 0.
    [['mtime', '/123456/d/a b.bin', 1_600_000_000], { status: 200 }],
    [['rename', '/123456/d/a b.bin', '/123456/d/é + b.bin'], { status: 200 }],
    [['symlink', '/123456/d/é + b.bin', '/123456/link'], { status: 200 }],
    [['mkdir', '/123456/made'], { status: 200 }],
    [['rmdir', '/123456/made'], { status: 200 }],
    [['delete', '/123456/link'], { status: 200 }],
    [['quick_delete', '/123456/d'], { status: 403 }],
    [['stat', '/123456/none'], { status: 404 }],
    // It encodes with escape(): é goes out as the byte E9 and reaches another name than its UTF-8 does.
    [['upload', file, '/123456/é'], { status: 200 }],
    [['dir', { path: '/123456', actions: { encoding: 'utf-8', prefix: '%E9' } }], { status: 200, answer: { stat: { file: [{ name_base64: '6Q==' }] } } }],
    // What Latin-1 lacks goes out as %u65E5, which is no percent-encoding. Nobody knows what Akamai makes of it.
    [['stat', '/123456/日'], { status: 400 }]
  ]
  const child = fileURLToPath(new URL('netstorageapi.ts', import.meta.url))
  const { stdout } = await run(process.execPath, [child, String(port), JSON.stringify(account), JSON.stringify(calls.map(([call]) => call))])
  const results = JSON.parse(stdout) as Result[]
  t.equal(results.length, calls.length)
  for (const [index, [call, expected]] of calls.entries()) t.match(results[index], expected, call.slice(0, 2).join(' '))
  t.ok(readFileSync(join(dir, 'copy.bin')).equals(bytes))
  t.match(store.get('/123456/d/é + b.bin'), { mtime: 1_600_000_000, body: bytes })
  t.equal(log.length, calls.length)
})

interface AkamaiHttpApi extends Record<string, (...args: never[]) => unknown> { setConfig: (config: object) => AkamaiHttpApi }

t.test('akamai-http-api does all it can do', async t => {
  const { port, store, log } = await start(t)
  const client = (createRequire(import.meta.url)('akamai-http-api') as AkamaiHttpApi).setConfig({ ...account, host: `127.0.0.1:${port}`, ssl: false })
  const call = async (method: string, ...args: unknown[]): Promise<unknown> => await new Promise((resolve, reject) => {
    client[method]?.(...[...args, (error: Error | null, answer: unknown) => { if (error === null) resolve(answer); else reject(error) }] as never[])
  })
  const bytes = Buffer.alloc(200_000, 'chunked ')
  // It streams without a length and without digests, and strips a slash at the end from what it sends and signs.
  t.match(await call('upload', Readable.from([bytes]), '/123456/d/a%20b.bin'), { status: 200 })
  t.match(store.get('/123456/d/a b.bin'), { body: bytes })
  t.match(await call('stat', '/123456/d/a%20b.bin'), { stat: { file: [{ name: 'a b.bin', size: '200000' }] } })
  t.equal(await call('fileExists', '/123456/d/a%20b.bin'), true)
  t.equal(await call('fileExists', '/123456/none'), false)
  t.match(await call('dir', '/123456/d/'), { stat: { file: [{ name: 'a b.bin' }] } })
  t.match(await call('du', '/123456/d'), { du: { 'du-info': [{ files: '1', bytes: '200000' }] } })
  const sink = new PassThrough()
  const read = buffer(sink)
  await call('download', '/123456/d/a%20b.bin', sink)
  t.ok((await read).equals(bytes))
  t.match(await call('mtime', '/123456/d/a%20b.bin', new Date(1_600_000_000_000)), { status: 200 })
  t.match(await call('rename', '/123456/d/a%20b.bin', '/123456/d/é + b.bin'), { status: 200 })
  t.match(store.get('/123456/d/é + b.bin'), { mtime: 1_600_000_000 })
  t.match(await call('symlink', '/123456/d/é + b.bin', '/123456/link'), { status: 200 })
  t.match(await call('mkdir', '/123456/made/'), { status: 200 })
  t.match(await call('rmdir', '/123456/made'), { status: 200 })
  t.match(await call('delete', '/123456/link'), { status: 200 })
  await t.rejects(call('delete', '/123456/link'), { code: 404 })
  await t.rejects(call('dir', '/123456/d/%C3%A9%20%2B%20b.bin'), { code: 412 })
  await t.rejects(call('stat', '/7/a'), { code: 403 })
  t.ok(log.filter(({ action }) => !['stat', 'dir', 'du', 'download'].includes(action)).every(({ method }) => method === 'PUT'))
})

/** Runs rclone against an emulator. Undefined where there is none, which in CI is a failure: there it must be met. */
async function findRclone (): Promise<((port: number, ...args: string[]) => Promise<string>) | undefined> {
  // The key goes into its configuration in its own disguise.
  const secret = await run('rclone', ['obscure', account.key]).then(({ stdout }) => stdout.trim(), (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    if (process.env['CI'] !== undefined) throw new Error('rclone is not installed, and CI must test against it: apt-get install rclone')
  })
  if (secret === undefined) return undefined
  const { AWS_CA_BUNDLE: _, ...env } = process.env
  return async (port, ...args) => (await run('rclone', args, {
    env: {
      ...env,
      RCLONE_CONFIG: join(dir, 'no-rclone.conf'),
      RCLONE_CONFIG_NS_TYPE: 'netstorage',
      RCLONE_CONFIG_NS_PROTOCOL: 'http',
      RCLONE_CONFIG_NS_HOST: `127.0.0.1:${port}/123456/`,
      RCLONE_CONFIG_NS_ACCOUNT: account.keyName,
      RCLONE_CONFIG_NS_SECRET: secret,
      RCLONE_RETRIES: '1',
      RCLONE_LOW_LEVEL_RETRIES: '1',
      RCLONE_CONTIMEOUT: '5s'
    }
  })).stdout
}
const rclone = await findRclone()
const absent = 'skipped: rclone is not installed'
const lines = (text: string) => text.trim().split('\n').sort()

t.test('rclone keeps a tree equal', async t => {
  if (rclone === undefined) return t.comment(absent)
  const { port, store, log } = await start(t)
  const run = async (...args: string[]) => await rclone(port, ...args)
  const tree = join(dir, 'tree')
  const files: Record<string, Buffer> = {
    'a b+c%20é日本😀.txt': Buffer.from('odd'),
    "it's (v1.0), [x]; ~me@home:80!*$": Buffer.from('odder'),
    'q?a=1&b=2#frag <"100%">': Buffer.from('oddest'),
    'sub/deep/x.bin': Buffer.alloc(300_000, 'x'),
    'empty.bin': Buffer.alloc(0)
  }
  const write = (name: string, bytes: Buffer) => {
    const path = join(tree, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes)
    utimesSync(path, 1_600_000_000, 1_600_000_000)
  }
  const stored = () => Object.fromEntries(store.names('/123456/up/').filter(name => !name.endsWith('/')).map(name => [name.slice('/123456/up/'.length), store.get(name)?.body]))
  for (const [name, bytes] of Object.entries(files)) write(name, bytes)

  await run('copy', tree, 'ns:up')
  t.same(stored(), files, 'byte for byte, under its very names')
  t.ok(store.names('/123456/up/').filter(name => !name.endsWith('/')).every(name => store.get(name)?.mtime === 1_600_000_000))
  // It proves each upload by trailers without a Trailer header, and makes every directory explicit.
  t.ok(store.get('/123456/up/sub/deep/'))
  await run('check', tree, 'ns:up')
  await run('check', '--download', tree, 'ns:up')
  t.same(lines(await run('lsf', '--recursive', '--files-only', 'ns:up')), Object.keys(files).sort())
  t.match(JSON.parse(await run('backend', 'du', 'ns:up')), { 'Number of files': 8, 'Total bytes': 300_014 })

  files['empty.bin'] = Buffer.from('no longer')
  write('empty.bin', files['empty.bin'])
  delete files["it's (v1.0), [x]; ~me@home:80!*$"]
  rmSync(join(tree, "it's (v1.0), [x]; ~me@home:80!*$"))
  await run('sync', tree, 'ns:up')
  t.same(stored(), files, 'one overwritten, one deleted')
  await run('backend', 'symlink', 'ns:up/link', 'empty.bin')
  t.match(store.get('/123456/up/link'), { type: 'symlink', target: 'empty.bin' })
  // Quick delete being refused, as it is by default, it falls back on one delete each.
  await run('purge', 'ns:up')
  t.same(store.names(), [])
  t.same([...new Set(log.map(({ status }) => status))].sort(), [200, 403, 404])
  t.match(log.filter(({ status }) => status === 403), [{ action: 'quick-delete' }])
})

t.test('rclone follows a listing over its pages', async t => {
  if (rclone === undefined) return t.comment(absent)
  // Only a list: rclone never resumes a dir, so the real one cannot cut those short often. Ours does where it is told to.
  const { port, store, log } = await start(t, { pageSize: 2 })
  const names = ['a b', 'a+b', 'd/100%', 'd/é', 'd/日本/x', 'e']
  for (const name of names) store.put(`/123456/up/${name}`, 'x')
  t.same(lines(await rclone(port, 'lsf', '--recursive', '--files-only', 'ns:up')), [...names].sort())
  t.equal(log.filter(({ action }) => action === 'list').length, 3)
})
