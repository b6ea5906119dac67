import t from 'tap'
import { dirResume, listResume, parsePage } from '../../src/netstorage/response.ts'

const stat = (inner: string) => Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<stat directory="/123456/img">\n${inner}</stat>\n`)
const entryOf = (attributes: string) => parsePage(stat(`<file ${attributes}/>`), 'stat').entries[0]
const base64 = (bytes: string) => Buffer.from(bytes, 'latin1').toString('base64')

t.test('an entry shows what NetStorage says and leaves out what it does not', async t => {
  const file = 'type="file" name="a" size="3" md5="900150983CD24FB0D6963F7D28E17F72" mtime="1700000000"'
  t.same(entryOf(file), { type: 'file', name: 'a', sizeBytes: 3, md5: '900150983cd24fb0d6963f7d28e17f72', mtime: 1_700_000_000, target: undefined })
  const cases: Array<[string, string, object | undefined]> = [
    ['a directory told with its slash', 'type="dir" name="d/" bytes="9" files="3" mtime="1"', { type: 'dir', name: 'd', mtime: 1, sizeBytes: undefined }],
    ['an implicit directory has no time', 'type="dir" name="d" implicit="true"', { name: 'd', implicit: true, mtime: undefined }],
    ['an explicit one is not implicit', 'type="dir" name="d" implicit="false"', { name: 'd', implicit: undefined }],
    ['a symlink', 'type="symlink" name="l" target="v2" mtime="2"', { type: 'symlink', name: 'l', target: 'v2' }],
    ['a target in base64', `type="symlink" name="l" target_base64="${base64('v\u0001')}"`, { target: 'v\u0001' }],
    ['every way to escape', 'type="file" name="&amp;&#38;&#x26;&lt;&gt;&quot;&apos;"', { name: '&&&<>"\'' }],
    ['a file keeps its slash', 'type="file" name="odd/"', { name: 'odd/' }],
    ['a control character, in base64', `type="file" name_base64="${base64('a\u0001b')}"`, { name: 'a\u0001b', lossy: undefined }],
    ['UTF-8 in base64', `type="file" name_base64="${Buffer.from('日本').toString('base64')}"`, { name: '日本', lossy: undefined }],
    ['base64 without its padding', 'type="file" name_base64="YQ"', { name: 'a' }],
    ['bytes that are no UTF-8', `type="file" name_base64="${base64('caf\u00e9')}"`, { name: 'caf\ufffd', lossy: true }],
    ['a plain name goes before base64', 'type="file" name="plain" name_base64="YQ=="', { name: 'plain' }],
    ['attributes nobody knows', 'type="file" name="a" colour="red"', { name: 'a' }],
    ['numbers that are none', 'type="file" name="a" size="-1" mtime="1.5"', { sizeBytes: undefined, mtime: undefined }],
    ['a type nobody knows', 'type="socket" name="a"', undefined],
    ['no name', 'type="file"', undefined]
  ]
  for (const [what, attributes, expected] of cases) {
    if (expected === undefined) t.equal(entryOf(attributes), undefined, what)
    else t.match(entryOf(attributes), expected, what)
  }
})

t.test('only direct children of the root count, and unknown elements are passed over', async t => {
  const page = parsePage(stat('<new><file type="file" name="deep"/><resume start="deep"/></new><file type="file" name="a"/><!-- <file/> --><file type="file" name="b"><x/></file><resume/>'), 'stat')
  t.same(page.entries.map(({ name }) => name), ['a', 'b'])
  t.equal(page.resume, undefined, 'a resume without a start is none')
  t.same(parsePage(Buffer.from('<list/>'), 'list'), { entries: [] })
})

t.test('a page says where it resumes, in raw bytes', async t => {
  for (const [attributes, expected] of [['start="u &amp; v.png"', 'u & v.png'], [`start_base64="${base64('caf\u00e9')}"`, 'caf\u00e9']]) {
    t.equal(parsePage(stat(`<resume ${attributes}/>`), 'stat').resume?.toString('latin1'), expected)
  }
})

t.test('anything but the whole document is refused', async t => {
  const cases: Array<[string, string | Buffer, RegExp]> = [
    ['nothing', '', /root element/],
    ['text', 'Not found\n', /text data outside of root node/],
    ['a page of a proxy', '<html><body><p>Hello</p></body></html>', /no <list> but <html>/],
    ['the page of another action', '<stat directory="/1"><file type="file" name="a"/></stat>', /no <list> but <stat>/],
    ['the root deeper down', '<x><list><file type="file" name="a"/></list></x>', /no <list> but <x>/],
    ['a document that breaks off behind an element', '<list><file type="file" name="a"/>', /unclosed tag: list/],
    ['a document that breaks off in a tag', '<list><file type="file" na', /unclosed tag|unexpected end/],
    ['tags that cross', '<list><file></list></file>', /unexpected close tag|unmatched closing tag/],
    ['two roots', '<list/><list/>', /documents may contain only one root|multiple root/],
    ['an entity nobody declared', '<list><file type="file" name="&secret;"/></list>', /undefined entity/],
    ['a DTD', '<!DOCTYPE list SYSTEM "http://127.0.0.1/x.dtd"><list/>', /holds a DTD/],
    ['a DTD that grows', '<!DOCTYPE list [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><list><file type="file" name="&b;"/></list>', /holds a DTD/],
    ['a control character', '<list><file type="file" name="a\u0001"/></list>', /disallowed character/]
  ]
  for (const [what, xml, message] of cases) t.throws(() => parsePage(Buffer.from(xml), 'list'), { message }, what)
})

t.test('a listing resumes only below its CP code, and only forward', async t => {
  const resume = (start: string, after = '/123456/img') => listResume(Buffer.from(start), 123456, Buffer.from(after)).toString()
  t.equal(resume('/123456/img/b'), '/123456/img/b')
  for (const start of ['//evil.example/123456/img/b', '//123456/img/b', '/1234567/img/b', '/999/img/b', '123456/img/b', 'http://evil.example/', '/123456', '']) {
    t.throws(() => resume(start), { message: 'the listing resumes outside CP code 123456' }, start)
  }
  for (const start of ['/123456/img', '/123456/a', '/123456/']) t.throws(() => resume(start), { message: 'the listing resumes where it began' }, start)
  t.equal(listResume(Buffer.from([...Buffer.from('/1/'), 0xff]), 1, Buffer.from('/1/\u{10ffff}')).at(-1), 0xff, 'bytes are compared, not characters')
})

t.test('a directory resumes at a bare name, and only forward', async t => {
  const resume = (start: string, after?: string) => dirResume(Buffer.from(start), after === undefined ? undefined : Buffer.from(after)).toString()
  t.equal(resume('b'), 'b')
  t.equal(resume('b', 'a'), 'b')
  t.equal(resume('/123456/img/b', 'a'), 'b')
  t.equal(resume('123456/img/sub/', 'a'), 'sub')
  for (const [start, after] of [['a', 'a'], ['/123456/img/a', 'b'], ['', undefined], ['/', undefined]] as const) {
    t.throws(() => resume(start, after), { message: 'the listing resumes where it began' }, start)
  }
})
