import t from 'tap'
import { startNetStorage } from '../../sandbox/netstorage/server.ts'
import { account, ask, type SignedRequest } from './signed-request.ts'

const now = Date.parse('2026-01-02T12:00:00.250Z')
const seconds = Math.floor(now / 1000)
const md5a = '0cc175b9c0f1b6a831c399e269772661'

/** An empty store, what puts the file `a` under names, and what asks for an action on a path. */
async function start (t: { teardown: (fn: () => Promise<void>) => void }) {
  const { origin, store, close } = await startNetStorage({ accounts: [{ ...account, cpCodes: [123456, 7] }], now: () => now, keepBodiesUpTo: 100 })
  t.teardown(close)
  return {
    store,
    put (...names: string[]) { for (const name of names) store.put(`/123456/${name}`, 'a', { mtime: 1_700_000_000 }) },
    send: async (path: string, action: string, more: Partial<SignedRequest> = {}) => await ask(origin, { path: `/123456${path}`, action, sign: { nowSeconds: seconds }, ...more })
  }
}
const declaration = (encoding: string) => `<?xml version="1.0" encoding="${encoding}"?>\n`
/** The lines between root and end, without their indent. */
const inner = (text: string) => text.split('\n').slice(2, -2).map(line => line.trim())
const names = (text: string) => [...text.matchAll(/<file [^>]*?name="([^"]*)"/g)].map(([, name]) => name)

t.test('answers bear the headers and bytes that were recorded', async t => {
  const { put, send } = await start(t)
  put('a')
  const stat = await send('/a', 'stat&encoding=utf-8')
  t.match(stat.headers, { server: 'AkamaiNetStorage', 'content-type': 'text/xml', 'cache-control': 'max-age=0, no-cache, no-store', pragma: 'no-cache', 'accept-ranges': 'bytes', date: 'Fri, 02 Jan 2026 12:00:00 GMT', expires: 'Fri, 02 Jan 2026 12:00:00 GMT' })
  t.equal(stat.text, `${declaration('UTF-8')}<stat directory="/123456">\n <file type="file" name="a" size="1" md5="${md5a}" mtime="1700000000"/>\n</stat>\n`)
  const missing = await send('/b', 'stat')
  t.match(missing, { status: 404, text: 'Not found\n', headers: { 'x-n': 'S', 'content-type': undefined } })
  for (const [path, action, text] of [['/d', 'mkdir', 'successful\n'], ['/d', 'rmdir', 'deleted\n'], ['/a', 'rename&destination=%2F123456%2Fb', 'renamed\n'], ['/b', 'mtime&mtime=1', 'successful\n'], ['/l', 'symlink&target=b', 'successful\n'], ['/b', 'delete', 'deleted\n'], ['/c', 'upload', '']] as const) {
    t.match(await send(path, action), { status: 200, text, headers: { 'content-type': undefined, 'content-length': String(text.length) } }, action)
  }
})

t.test('stat shows a file, a link, or a directory that is explicit or asked for', async t => {
  const { put, send } = await start(t)
  put('img/cat.jpg', 'both', 'both/', 'made/', 'made/x')
  await send('/link', 'symlink&target=..%2Fv+1%2B&mtime=5')
  const cases: Array<[string, string, string[] | undefined]> = [
    ['/img/cat.jpg', 'stat', [`<file type="file" name="cat.jpg" size="1" md5="${md5a}" mtime="1700000000"/>`]],
    ['/link', 'stat', ['<file type="symlink" name="link" target="../v 1+" mtime="5"/>']],
    ['/img', 'stat', undefined],
    ['/img', 'stat&implicit=yes', ['<file type="dir" name="img" implicit="true"/>']],
    ['/img/', 'stat&implicit=yes', ['<file type="dir" name="img/" implicit="true"/>']],
    ['/made', 'stat', ['<file type="dir" name="made" mtime="1700000000"/>']],
    ['/made/', 'stat', ['<file type="dir" name="made/" mtime="1700000000"/>']],
    ['/both', 'stat', [`<file type="file" name="both" size="1" md5="${md5a}" mtime="1700000000"/>`]],
    ['/both', 'stat&slash=both', [`<file type="file" name="both" size="1" md5="${md5a}" mtime="1700000000"/>`, '<file type="dir" name="both" mtime="1700000000"/>']],
    ['/img/cat.jpg', 'stat&slash=both&implicit=yes', [`<file type="file" name="cat.jpg" size="1" md5="${md5a}" mtime="1700000000"/>`]],
    ['/im', 'stat&implicit=yes', undefined],
    ['', 'stat', undefined],
    ['', 'stat&implicit=yes', ['<file type="dir" name="123456" implicit="true"/>']]
  ]
  for (const [path, action, expected] of cases) {
    const answer = await send(path, action)
    t.equal(answer.status, expected === undefined ? 404 : 200, `${action} of ${path}`)
    if (expected !== undefined) t.same(inner(answer.text), expected)
  }
  t.match((await send('', 'stat&implicit=yes')).text, '<stat directory="/">')
})

t.test('what an encoding or XML cannot show goes out as base64', async t => {
  const { send } = await start(t)
  for (const path of ['caf%C3%A9', 'caf%E9', 'a%01b', 't%09%0A%0D', '%26%3C%3E%22%27', '%EF%BF%BE', '%7F%C2%80']) await send(`/x/${path}`, 'upload')
  const shown = async (encoding: string) => {
    const { body } = await send('/x', `dir${encoding}`)
    return [...body.toString(encoding === '' ? 'latin1' : 'utf8').matchAll(/ (name[^ ]*)/g)].map(([, name]) => name)
  }
  const escaped = ['name="&amp;&lt;&gt;&quot;&apos;"', 'name_base64="YQFi"']
  t.same(await shown('&encoding=utf-8'), [...escaped, 'name="café"', 'name_base64="Y2Fm6Q=="', 'name="t&#9;&#10;&#13;"', 'name="\u007f\u0080"', 'name_base64="77++"'])
  t.same(await shown(''), [...escaped, 'name="caf\u00c3\u00a9"', 'name="caf\u00e9"', 'name="t&#9;&#10;&#13;"', 'name="\u007f\u00c2\u0080"', 'name="\u00ef\u00bf\u00be"'], 'bytes as they are')
  t.match((await send('/x', 'dir')).text, declaration('ISO-8859-1'))
  t.match((await send('/x', 'dir&encoding=UTF-8')).text, declaration('UTF-8'))
})

t.test('dir shows direct children in byte order, page by page', async t => {
  const { store, put, send } = await start(t)
  put('d/file1', 'd/File2', 'd/dir1/x', 'd/dir1/y/z', 'd/made/', 'd/made/x', 'd/empty/', 'e')
  store.put('/123456/d/made/x', 'abc')
  t.same(names((await send('/d', 'dir')).text), ['File2', 'dir1', 'empty', 'file1', 'made'])
  t.match(inner((await send('/d/', 'dir')).text), [/File2/, '<file type="dir" name="dir1" bytes="2" files="2" mtime="1700000000" implicit="true"/>', '<file type="dir" name="empty" bytes="0" files="1" mtime="1700000000"/>', /file1/, '<file type="dir" name="made" bytes="3" files="2" mtime="1700000000"/>'])
  t.equal((await send('/d/empty', 'dir')).text, `${declaration('ISO-8859-1')}<stat directory="/123456/d/empty"/>\n`)
  t.same(names((await send('', 'dir')).text), ['d', 'e'])
  for (const [parameters, expected] of [
    ['start=dir1', ['dir1', 'empty', 'file1', 'made']], ['start=%2F123456%2Fd%2Ffile', ['file1', 'made']], ['start=123456%2Fd%2Ffile', ['file1', 'made']],
    ['end=dir1', ['File2', 'dir1']], ['end=123456%2Fd%2Fdir0', ['File2']], ['prefix=file', ['file1']], ['prefix=fi&start=g', []]
  ] as const) t.same(names((await send('/d', `dir&${parameters}`)).text), expected, parameters)
  t.match((await send('/d', 'dir&max_entries=2')).text, '<resume start="empty"/>')
  t.match(await send('/e', 'dir'), { status: 412 })
  t.match(await send('/nowhere', 'dir'), { status: 404 })
  t.match(await send('', 'dir', { path: '/7' }), { status: 200 }, 'a CP code is there though empty')
})

t.test('a file hides the directory of its name, unless both are asked for', async t => {
  const { put, send } = await start(t)
  put('d/a', 'd/a/x', 'd/a-b', 'd/z')
  t.same(names((await send('/d', 'dir')).text), ['a', 'a-b', 'z'])
  t.same(names((await send('/d', 'dir&slash=both')).text), ['a', 'a', 'a-b', 'z'])
  const seen: Array<string | undefined> = []
  for (let start: string | undefined = ''; start !== undefined;) {
    const { text } = await send('/d', `dir&slash=both&max_entries=1${start === '' ? '' : `&start=${encodeURIComponent(start)}`}`)
    seen.push(...names(text))
    start = /<resume start="([^"]*)"/.exec(text)?.[1]
  }
  t.same(seen, ['a', 'a', 'a-b', 'z'])
})

t.test('list goes from a name to the end of its CP code', async t => {
  const { store, put, send } = await start(t)
  put('img/', 'img/b', 'img/a/x', 'img0', 'img-old', 'z')
  store.put('/7/other', 'x')
  await send('/img/link', 'symlink&target=b')
  const all = ['123456/img-old', '123456/img/', '123456/img/a/x', '123456/img/b', '123456/img/link', '123456/img0', '123456/z']
  for (const [path, parameters, expected] of [
    ['', '', all], ['/', '', all], ['/img/', '', all.slice(1)], ['/img/b', '', all.slice(3)],
    ['/img/', '&end=%2F123456%2Fimg0', all.slice(1, 6)], ['/img/', '&end=123456%2Fimg0', all.slice(1, 6)], ['/img/', '&end=%2F123456%2Fimg%2Fa%2Fx', all.slice(1, 3)]
  ] as const) t.same(names((await send(path, `list${parameters}`)).text), expected, `${path}${parameters}`)
  t.match(inner((await send('/img/', 'list&max_entries=1')).text), ['<file type="dir" name="123456/img/"/>', '<resume start="/123456/img/a/x"/>'])
  t.match((await send('/img/link', 'list')).text, '<file type="symlink" name="123456/img/link"/>')
  t.match((await send('/img/link', 'list&mtime_all=yes')).text, `<file type="symlink" name="123456/img/link" target="b" mtime="${seconds}"/>`)
  t.match(await send('/zz', 'list'), { status: 404 }, 'nothing to list')
})

t.test('du counts what lies below', async t => {
  const { put, send } = await start(t)
  put('d/', 'd/a', 'd/b/c')
  t.equal((await send('/d', 'du')).text, `${declaration('ISO-8859-1')}<du directory="/123456/d">\n <du-info files="3" bytes="2"/>\n</du>\n`)
  t.match((await send('', 'du')).text, '<du-info files="3" bytes="2"/>')
  t.match(await send('/nowhere', 'du'), { status: 404 })
  t.match((await send('', 'du', { path: '/7' })).text, '<du-info files="0" bytes="0"/>')
})

t.test('writes do what they say, and say what they cannot', async t => {
  const { store, put, send } = await start(t)
  put('a', 'd/x', 'made/', 'made/x', 'empty/')
  const cases: Array<[string, string, number]> = [
    ['/a/', 'delete', 404], ['/made', 'delete', 404], ['/made/', 'delete', 200], ['/made/', 'delete', 404],
    ['/d', 'rmdir', 404], ['/empty', 'mkdir', 200], ['/empty/', 'rmdir', 200], ['/empty', 'rmdir', 404], ['/d/', 'mkdir', 200], ['/d', 'rmdir', 409],
    ['/none', 'rename&destination=%2F123456%2Fb', 404], ['/d/', 'rename&destination=%2F123456%2Fb', 404], ['/a', 'rename&destination=%2F7%2Fa', 403],
    ['/none', 'mtime&mtime=5', 404], ['/d/', 'mtime&mtime=5', 404], ['/d/x', 'mtime&mtime=5', 200],
    ['/l', 'symlink&target=a', 200], ['/l', 'mtime&mtime=5', 404],
    ['/a', 'quick-delete&quick-delete=imreallyreallysure', 403], ['/a', 'rename&destination=%2F123456%2Fd%2Fx', 200], ['/l', 'delete', 200]
  ]
  for (const [path, action, status] of cases) t.equal((await send(path, action, { method: status === 403 ? 'POST' : 'PUT' })).status, status, `${action} of ${path}`)
  t.same(store.names(), ['/123456/d/', '/123456/d/x', '/123456/made/x'])
  t.match(store.get('/123456/d/x'), { mtime: 1_700_000_000, md5: md5a }, 'a rename replaces what was there and keeps its time')
})

t.test('a download gives bytes, or a range of them, with the ETag that was recorded', async t => {
  const { put, send } = await start(t)
  await send('/f', 'upload&mtime=1700000000', { body: '0123456789' })
  const etag = '"781e5e245d69b566979b86e28d23f2c7:1700000000.250000"'
  t.match(await send('/f', 'download'), { status: 200, text: '0123456789', headers: { etag, 'last-modified': 'Tue, 14 Nov 2023 22:13:20 GMT', 'content-length': '10' } })
  t.match(await send('/f', 'download', { method: 'HEAD' }), { status: 200, text: '', headers: { etag, 'content-length': '10' } })
  for (const [range, status, text, contentRange] of [
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'], ['bytes=8-', 206, '89', 'bytes 8-9/10'], ['bytes=9-99', 206, '9', 'bytes 9-9/10'],
    ['bytes=5-4', 200, '0123456789', undefined], ['bytes=-2', 200, '0123456789', undefined], ['bytes=10-', 416, /behind the end/, undefined]
  ] as const) t.match(await send('/f', 'download', { headers: { Range: range } }), { status, text, headers: { 'content-range': contentRange } }, range)
  put('d/', 'd/x')
  for (const path of ['/none', '/d', '/d/']) t.match(await send(path, 'download', { method: 'HEAD' }), { status: 404, text: '', headers: { 'content-length': '10' } }, path)
  await send('/big', 'upload', { body: 'x'.repeat(101) })
  t.match(await send('/big', 'download'), { status: 500, text: /did not keep a body/ })
})
