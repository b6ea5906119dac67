import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readEnvironment } from '../../src/environment.ts'
import { readRuleSet } from '../../src/rules/read.ts'

const dir = await mkdtemp(join(tmpdir(), 'edgeferry-rules-'))
t.teardown(async () => { await rm(dir, { recursive: true }) })
const file = join(dir, 'rules.yaml')

const read = (variables: Record<string, string> = {}, options?: { withSecrets: boolean }) =>
  readRuleSet(readEnvironment({ RULES_FILE: file, ...variables }, []), options)
const write = async (name: string, text: string) => { await writeFile(join(dir, name), text) }

const account = { NS_HOSTNAME: 'example-nsu.akamaihd.net', NS_KEYNAME: 'upload', NS_KEY: 'secret-of-the-environment', NS_CP: '5', NS_CP_CODES: '6' }
const client = { AO_API_HOST: 'akab-x.purge.akamaiapis.net', AO_CLIENT_TOKEN: 'a', AO_CLIENT_SECRET: 'b', AO_ACCESS_TOKEN: 'c' }
const edgerc = '[default]\nhost = akab-y.purge.akamaiapis.net\nclient_token = a\nclient_secret = b\naccess_token = c\n'
const whole = `targets:
  main: { hostname: main.example, keyName: upload, keyFile: key, cpCodes: [123456, 7], writesPerSecond: 10 }
edgegrids:
  ccu: { edgerc: edgerc, accountSwitchKey: "1-5C0YLB:1-8BYUX" }
rules:
  - { name: a, bucket: one, target: main, purge: { by: url, urls: ["https://www.example.com/{key}", "/L/1/2/3h/arl.example/{key}"], edgegrid: ccu } }
  - { name: b, bucket: two, target: main, cpCode: 7, purge: { by: none } }
  - { name: c, bucket: one, prefix: x/, target: main, purge: { by: url, urls: ["http://x.example:8080/{keyWithoutPrefix}"], edgegrid: ccu } }
`

t.test('a file brings its rules, accounts, buckets and hosts', async t => {
  await write('rules.yaml', whole)
  await write('key', 'the-key\n')
  await write('edgerc', edgerc)
  const { set, faults, warnings } = read()
  t.same([faults, warnings], [[], []])
  t.same(set.rules.map(({ name, cpCode }) => [name, cpCode]), [['a', 123456], ['b', 7], ['c', 123456]])
  t.same(set.targets, { main: { hostname: 'main.example', keyName: 'upload', key: 'the-key', cpCodes: [123456, 7], writesPerSecond: 10 } })
  t.match(set.edgegrids, { ccu: { host: 'akab-y.purge.akamaiapis.net', accountSwitchKey: '1-5C0YLB:1-8BYUX' } })
  t.same(set.buckets, ['one', 'two'])
  t.same(set.hosts, ['www.example.com', 'arl.example', 'x.example'])
  t.same(read({ PURGE_HOSTS: 'a.example, b.example' }).set.hosts, ['a.example', 'b.example'])
})

t.test('the accounts of the environment join in as default', async t => {
  await write('rules.yaml', 'rules: [{ name: a, bucket: one, purge: { by: url, urls: ["https://www.example.com/{key}"] } }]')
  const { set, faults } = read({ ...account, ...client })
  t.same(faults, [])
  t.match(set.targets, { default: { hostname: 'example-nsu.akamaihd.net', key: 'secret-of-the-environment', cpCodes: [5, 6] } })
  t.match(set.edgegrids, { default: { host: 'akab-x.purge.akamaiapis.net' } })
  t.equal(set.rules[0]?.cpCode, 5)
  t.match(read().faults, [/rules\.yaml:1:9: rules\[0\]\.target names no target "default"/, /rules\.yaml:1:40: .*names no credentials/])
  t.match(read({ ...client, NS_HOSTNAME: 'example-nsu.akamaihd.net' }).faults, [/^NS_KEYNAME is not set/, /^NS_KEY is not set/, /^NS_CP is not set/])
  t.match(read({ ...account, AO_API_HOST: 'x' }).faults, [/^AO_CLIENT_TOKEN is not set/, /^AO_CLIENT_SECRET/, /^AO_ACCESS_TOKEN/])
})

t.test('an account that the file calls default takes the place of the environment\'s', async t => {
  await write('rules.yaml', whole.replaceAll('main', 'default').replaceAll('ccu', 'default'))
  const { set, faults } = read({ NS_HOSTNAME: 'half-of-an-account', AO_API_HOST: 'half-of-a-client' })
  t.same(faults, [])
  t.equal(set.targets['default']?.hostname, 'default.example')
  t.equal(set.edgegrids['default']?.host, 'akab-y.purge.akamaiapis.net')
})

t.test('variables that only make the single rule are said to be without effect', async t => {
  await write('rules.yaml', whole)
  t.match(read({ S3_BUCKETS: 'x', PURGE_URLS: 'https://x/{key}', PURGE_NETWORK: 'staging', PURGE_ACTION: 'delete' }).warnings, [/^S3_BUCKETS, PURGE_URLS, PURGE_NETWORK, PURGE_ACTION: without effect/])
  await write('rules.yaml', whole.replace('prefix: x/', 'prefix: "x/*"'))
  t.match(read().warnings, [/rules\.yaml:8:37: rules\[2\]\.prefix is taken literally/])
})

t.test('what cannot be read is named where the file names it, and nothing that was read is shown', async t => {
  const cases: Array<[string, string, RegExp]> = [
    ['keyFile: key', 'keyFile: nowhere', /rules\.yaml:2:61: targets\.main\.keyFile .*\/nowhere cannot be read \(ENOENT\): there is no such file/],
    ['keyFile: key', 'keyFile: .', /:2:61: .*\(EISDIR\): it is a folder/],
    ['keyFile: key', 'keyFile: "key\\0"', /:2:61: .*cannot be read \(ERR_INVALID_ARG_VALUE\): check the path/],
    ['keyFile: key', 'keyFile: empty', /:2:61: .* must hold the key in one line and nothing else/],
    ['keyFile: key', 'keyFile: edgerc', /:2:61: .* must hold the key in one line and nothing else/],
    ['edgerc: edgerc', 'edgerc: nowhere', /:4:18: edgegrids\.ccu\.edgerc .*\/nowhere cannot be read/],
    ['edgerc: edgerc', 'edgerc: edgerc, section: other', /:4:35: edgegrids\.ccu\.edgerc .* has no section \[other\]: it holds \[default\]/],
    ['edgerc: edgerc', 'edgerc: half', /:4:8: edgegrids\.ccu\.edgerc .* lacks client_secret, access_token/]
  ]
  await write('empty', '\n')
  await write('half', '[default]\nhost = hunter2\nclient_token = hunter2\n')
  for (const [what, by, words] of cases) {
    await write('rules.yaml', whole.replace(what, by))
    const { faults } = read()
    t.match(faults, [words], by)
    t.equal(faults.length, 1)
    t.notMatch(faults.join(), /hunter2|client_secret = b/)
  }
  await write('rules.yaml', `targets: { broken: {} }\n${whole.replace('targets:', 'edgegrids: {}').replace('keyFile: key', 'keyFile: nowhere')}`)
  t.ok(read().faults.length > 0)
  await write('rules.yaml', whole.replace('keyFile: key', 'keyFile: nowhere').replace('bucket: one', 'bukket: one'))
  t.match(read().faults, [/:2:61: /, /:6:5: /, /:6:16: /], 'all of it at once, in the order of the file')
  t.match(read({ RULES_FILE: join(dir, 'nowhere') }).faults, [/^RULES_FILE: ENOENT/])
})

t.test('production takes no emulator, wherever it is named', async t => {
  await write('plain', edgerc.replace('akab-y', 'http://akab-y'))
  await write('rules.yaml', whole.replace('hostname: main.example', 'hostname: "http://127.0.0.1:1"').replace('edgerc: edgerc', 'edgerc: plain'))
  t.same(read().faults, [])
  t.match(read({ NODE_ENV: 'production' }).faults, [/:2:21: targets\.main\.hostname begins with http:\/\//, /:4:18: edgegrids\.ccu\.edgerc names a host that begins with http:\/\//])
  await write('rules.yaml', 'rules: [{ name: a, bucket: one, purge: { by: url, urls: ["https://www.example.com/{key}"] } }]')
  t.match(read({ ...account, ...client, NODE_ENV: 'production', NS_HOSTNAME: 'http://127.0.0.1:1', AO_API_HOST: 'http://127.0.0.1:1' }).faults, [/NS_HOSTNAME starts with http:/, /AO_API_HOST starts with http:/])
})

t.test('without secrets only the file is judged', async t => {
  await write('rules.yaml', whole.replace('keyFile: key', 'keyFile: nowhere').replace('edgerc: edgerc', 'edgerc: nowhere'))
  t.same(read({}, { withSecrets: false }).faults, [])
  t.equal(read({}, { withSecrets: false }).set.targets['main']?.key, '')
  await write('rules.yaml', 'rules: [{ name: a, bucket: one, purge: { by: url, urls: ["https://www.example.com/{key}"] } }]')
  t.same(read({ NS_HOSTNAME: 'half-of-an-account' }, { withSecrets: false }).faults, [])
  const { set, faults } = read({ NS_HOSTNAME: 'h', NS_CP: '5' }, { withSecrets: false })
  t.same(faults, [])
  t.equal(set.targets['default']?.hostname, 'h')
  t.same(read({ RULES_FILE: '', NS_HOSTNAME: 'h', NS_CP: '5', S3_BUCKETS: 'one', PURGE_URLS: 'https://www.example.com/{key}' }, { withSecrets: false }).faults, [])
})
