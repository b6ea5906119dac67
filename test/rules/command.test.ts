import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { askRules } from './ask.ts'

const dir = await mkdtemp(join(tmpdir(), 'edgeferry-command-'))
t.teardown(async () => { await rm(dir, { recursive: true }) })
const whole = `targets:
  main: { hostname: "http://main.example", keyName: upload, keyFile: key, cpCodes: [7] }
rules:
  - { name: a, bucket: one, prefix: "x*", target: main, purge: { by: none } }
`
const write = async (text: string) => { await writeFile(join(dir, 'rules.yaml'), text) }
const ask = async (args: string[], env: Record<string, string> = {}, cwd = dir) => await askRules(args, { cwd, env })

t.test('a good file ends with 0, whatever secrets are out of reach, and its oddities are told', async t => {
  await write(whole)
  t.match(await ask(['check', 'rules.yaml'], { NS_KEY_FILE: '/nowhere', API_TOKENS_FILE: '/nowhere' }), {
    status: 0,
    output: /^rules\.yaml:4:37: rules\[0\]\.prefix is taken literally: .* \(a warning\)\nrules\.yaml: good, 1 rule\n$/,
    errors: ''
  })
})

t.test('with secrets the files that it names are opened, too', async t => {
  await write(whole)
  t.match(await ask(['check', '--with-secrets', 'rules.yaml']), { status: 1, output: /rules\.yaml:2:70: targets\.main\.keyFile .* cannot be read \(ENOENT\)/ })
  await writeFile(join(dir, 'key'), 'hunter2')
  const { status, output } = await ask(['check', 'rules.yaml', '--with-secrets'])
  t.equal(status, 0)
  t.notMatch(output, /hunter2/)
})

t.test('the environment is judged with the file, as at the start of the service', async t => {
  await write(whole)
  t.match(await ask(['check', 'rules.yaml'], { NODE_ENV: 'production', NS_CP: 'x' }), { status: 1, output: /NS_CP must be a CP code[^]*:2:21: .*refused when NODE_ENV=production[^]*rules\.yaml: 2 faults/ })
})

t.test('a file that cannot be read is a fault', async t => {
  t.match(await ask(['check', 'nowhere.yaml']), { status: 1, output: /^ENOENT: .*nowhere\.yaml'\nnowhere\.yaml: 1 fault\n$/ })
})

t.test('npm says where the caller stood, and a path begins there', async t => {
  await write(whole)
  await mkdir(join(dir, 'package'))
  const npm = { npm_lifecycle_event: 'rules', INIT_CWD: dir }
  t.match(await ask(['check', 'rules.yaml'], npm, join(dir, 'package')), { status: 0, output: /\.\.\/rules\.yaml: good/ })
  t.match(await ask(['check', join(dir, 'rules.yaml')], npm, join(dir, 'package')), { status: 0 })
})

t.test('without a file the rule of the environment is explained, and needs no secrets', async t => {
  const env = { S3_BUCKETS: 'one', NS_HOSTNAME: 'example-nsu.akamaihd.net', NS_CP: '123456', PURGE_URLS: 'https://www.example.com/{key}', PURGE_NETWORK: 'staging' }
  t.match(await ask(['explain', 'one', 'a~b/é.js'], env), { status: 0, output: /path +\/123456\/a~b\/é\.js\npurge +invalidate on staging by URL, .*\n +https:\/\/www\.example\.com\/a~b\/%C3%A9\.js\nvanished/ })
  t.match(await ask(['explain', 'one', 'a/../b'], env), { status: 1, output: /refused +The key "a\/\.\.\/b" cannot be copied/ })
})

t.test('faulty rules are named instead of explained', async t => {
  await write(whole.replace('by: none', 'by: urls'))
  t.match(await ask(['explain', 'one', 'x'], { RULES_FILE: 'rules.yaml' }), { status: 1, output: /^rules\.yaml:4:70: .*must be one of/ })
})

t.test('who asks otherwise is told how to', async t => {
  await Promise.all([[], ['check', 'a', 'b'], ['explain', 'a']].map(async args => {
    t.match(await ask(args), { status: 2, output: '', errors: /npm run rules -- check .*\n[^]*explain <bucket> <key>/ }, args.join(' '))
  }))
})
