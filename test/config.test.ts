import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { ConfigError } from '../src/config.ts'
import { loadConfig } from '../src/config.ts'
import { testConfig } from './app.ts'

function faultsOf (changes: Record<string, string>): string[] {
  try {
    testConfig(changes)
    return []
  } catch (error) {
    return (error as ConfigError).faults
  }
}

t.test('an empty environment names everything that is missing at once', async t => {
  try {
    loadConfig({})
    t.fail('it started')
  } catch (error) {
    const { message } = error as Error
    for (const name of ['S3_BUCKETS', 'NS_HOSTNAME', 'NS_KEYNAME', 'NS_KEY', 'NS_CP', 'PURGE_URLS', 'AO_API_HOST', 'AO_CLIENT_TOKEN', 'AO_CLIENT_SECRET', 'AO_ACCESS_TOKEN']) t.match(message, `${name} is not set`)
  }
})

t.test('each fault is named with what to set', async t => {
  const cases: Array<[Record<string, string>, RegExp]> = [
    [{ PORT: 'http' }, /^PORT must be integer/],
    [{ PORT: '70000' }, /^PORT must be <= 65535/],
    [{ PURGE_NETWORK: 'both' }, /^PURGE_NETWORK must be one of production, staging/],
    [{ NS_CP: 'abc' }, /^NS_CP must be a CP code, a number such as 123456/],
    [{ NS_CP: '99999999999' }, /^NS_CP must be a CP code/],
    [{ NS_CP_CODES: '123 456' }, /^NS_CP_CODES must be CP codes/],
    [{ NS_CP_CODES: '0' }, /^NS_CP_CODES must be CP codes/],
    [{ PURGE_CP_CODES: '12,x' }, /^PURGE_CP_CODES must be CP codes/],
    [{ SNS_BASIC_AUTH: 'nobody' }, /^SNS_BASIC_AUTH must be of the form user:secret/],
    [{ AWS_ENDPOINT_URL_S3: 's3.example' }, /^AWS_ENDPOINT_URL_S3 must be a URL that begins with https:/],
    [{ AWS_ENDPOINT_URL_S3: 'http://' }, /^AWS_ENDPOINT_URL_S3 is no URL/],
    [{ PUBLIC_URL: 'https://a b' }, /^PUBLIC_URL is no URL/],
    [{ NS_HOSTNAME: 'example nsu.akamaihd.net' }, /^NS_HOSTNAME must be a bare host name/],
    [{ NS_HOSTNAME: 'https://example-nsu.akamaihd.net/123456' }, /^NS_HOSTNAME must be a bare host name/],
    [{ NS_HOSTNAME: 'http://127.0.0.1:99999' }, /^NS_HOSTNAME must be a bare host name/],
    [{ AO_API_HOST: 'akab-x.purge.akamaiapis.net/ccu' }, /^AO_API_HOST must be a bare host name/],
    [{ NODE_ENV: 'production', NS_HOSTNAME: 'HTTP://example.com' }, /^NS_HOSTNAME must be a bare host name/],
    [{ NS_KEYNAME: 'a, b' }, /^NS_KEYNAME must hold no comma/],
    [{ ROLE: 'worker' }, /^ROLE=worker needs DATABASE_URL/],
    [{ PURGE_BY: 'url', PURGE_URLS: '' }, /^PURGE_BY=url needs PURGE_URLS/],
    [{ PURGE_URLS: 'www.example.com/{key}' }, /is no URL template/],
    [{ NODE_ENV: 'production' }, /^NS_HOSTNAME starts with http:/],
    [{ HOST: '0.0.0.0' }, /^API_TOKENS is not set/],
    [{ API_TOKENS: 'ops' }, /^API_TOKENS: entry 1 is not of the form name:secret/],
    [{ EDGEFERRY_IMAGE: '1' }, /^DATA_DIR .* is not a mounted volume/],
    [{ NS_KEY_FILE: '/nowhere' }, /^NS_KEY and NS_KEY_FILE are both set/],
    [{ NS_KEY: '', NS_KEY_FILE: '/nowhere' }, /^NS_KEY_FILE: ENOENT/],
    [{ AO_API_HOST: '', AKAMAI_EDGERC: '/nowhere' }, /^AKAMAI_EDGERC: ENOENT/]
  ]
  for (const [changes, wanted] of cases) t.match(faultsOf(changes).join('\n'), new RegExp(wanted.source, 'm'), JSON.stringify(changes))
})

t.test('hosts and lists may be written as people write them', async t => {
  for (const host of ['example-nsu.akamaihd.net', 'https://example-nsu.akamaihd.net/', 'example-nsu.akamaihd.net:8443', 'http://127.0.0.1:1', 'http://[::1]:1']) t.same(faultsOf({ NS_HOSTNAME: host, AO_API_HOST: host }), [], host)
  t.same(testConfig({ NS_CP_CODES: ' 7, 8 ,9,' }).rules.current().targets['default']?.cpCodes, [123456, 7, 8, 9])
})

t.test('no fault shows the value of a secret', async t => {
  t.notMatch(faultsOf({ API_TOKENS: 'a/b:hunter2', PORT: 'x' }).join(), /hunter2/)
  t.notMatch(testConfig({ API_TOKENS: 'ops:hunter2' }).warnings.join(), /hunter2/)
})

t.test('secrets may come from files, and one trailing newline is dropped', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'edgeferry-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  await writeFile(join(dir, 'key'), 'from-a-file\n')
  await writeFile(join(dir, 'edgerc'), '[ccu]\nhost = akab-x.purge.akamaiapis.net\nclient_token = a\nclient_secret = b\naccess_token = c\n')
  const config = testConfig({ NS_KEY: '', NS_KEY_FILE: join(dir, 'key'), AO_API_HOST: '', AKAMAI_EDGERC: join(dir, 'edgerc'), AKAMAI_EDGERC_SECTION: 'ccu', AKAMAI_ACCOUNT_KEY: '1-5C0YLB:1-8BYUX' })
  t.equal(config.rules.current().targets['default']?.key, 'from-a-file')
  t.match(config.rules.current().edgegrids['default'], { host: 'akab-x.purge.akamaiapis.net', accountSwitchKey: '1-5C0YLB:1-8BYUX' })
})

t.test('what is odd but allowed is a warning', async t => {
  t.match(testConfig({ API_TOKENS: 'none', HOST: '0.0.0.0' }).warnings, [/anyone/])
  t.match(testConfig({ API_TOKENS: 'ops:short' }).warnings, [/the secret of "ops" is shorter/])
  const config = testConfig({ PURGE_BY: 'cpcode', PURGE_URLS: '' })
  t.match(config.warnings, [/PURGE_CP_CODES is not set/])
  t.same(config.rules.current().rules[0]?.purge.cpCodes, [123456])
  t.equal(testConfig({ PURGE_BY: 'none', PURGE_URLS: '', AO_API_HOST: '' }).rules.current().edgegrids['default'], undefined)
})

t.test('hosts that may be purged are those of the templates unless named', async t => {
  t.same(testConfig().rules.current().hosts, ['www.example.com'])
  t.same(testConfig({ PURGE_HOSTS: 'a.example, b.example' }).rules.current().hosts, ['a.example', 'b.example'])
})
