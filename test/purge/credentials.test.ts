import t from 'tap'
import { parseEdgerc } from '../../src/purge/credentials.ts'

const credentials = { host: 'akab-h.purge.akamaiapis.net', clientToken: 'akab-ct', clientSecret: 'c2VjcmV0/+=', accessToken: 'akab-at' }
const lines = ['host = akab-h.purge.akamaiapis.net', 'client_token = akab-ct', 'client_secret = c2VjcmV0/+=', 'access_token = akab-at']

t.test('an .edgerc is read as any of the official clients would', async (t) => {
  const table: Array<[string, string, string?, object?]> = [
    ['plain', ['[default]', ...lines].join('\n')],
    ['CRLF and a byte order mark', ['\uFEFF[default]', ...lines].join('\r\n')],
    ['another section', ['[default]', 'host = x', '[ccu]', ...lines, '[last]', 'host = y'].join('\n'), 'ccu'],
    ['comments', ['; c', '# c', '[default] ; main', ...lines.map((line) => `${line} ; mine`), '#host = x', ';host = y'].join('\n')],
    ['dashes and capitals', ['[ default ]', ...lines.map((line) => line.replace('_', '-').replace('host', 'Host'))].join('\n')],
    ['quotes', ['[default]', ...lines.map((line) => line.replace(/= (.*)$/, '= "$1"  # why'))].join('\n')],
    ['single quotes, no spaces', ['[default]', ...lines.map((line) => line.replace(/ = (.*)$/, "='$1'"))].join('\n')],
    ['https and slash', ['[default]', ...lines, 'host = https://akab-h.purge.akamaiapis.net/'].join('\n')],
    ['keys that others read', ['[default]', 'max-body = 131072', 'headers_to_sign =', ...lines, 'nonsense', '= x'].join('\n')],
    ['a section in two parts', ['stray = 1', '[default]', ...lines.slice(0, 2), '[x]', '[default]', ...lines.slice(2)].join('\n')],
    ['account key', ['[default]', ...lines, 'account_key = 1-5C0YLB:1-8BYUX'].join('\n'), 'default', { accountSwitchKey: '1-5C0YLB:1-8BYUX' }],
    ['account switch key', ['[default]', ...lines, 'account-switch-key = 1-5'].join('\n'), 'default', { accountSwitchKey: '1-5' }],
    ['empty account key', ['[default]', ...lines, 'account_key = ; none'].join('\n')],
    ['emulator', ['[default]', ...lines, 'host = http://127.0.0.1:8089/'].join('\n'), 'default', { host: 'http://127.0.0.1:8089' }]
  ]
  for (const [name, text, section, more] of table) t.same(parseEdgerc(text, section), { ...credentials, ...more }, name)
})

t.test('a secret may hold what elsewhere begins a comment', async (t) => {
  t.equal(parseEdgerc(['[default]', ...lines, 'client_secret = a;b#c=d'].join('\n')).clientSecret, 'a;b#c=d')
})

t.test('what is missing is named, and no value is', async (t) => {
  t.throws(() => parseEdgerc('[default]\nhost = h\n[x]', 'ccu'), { message: 'The .edgerc has no section [ccu]: it holds [default], [x].' })
  t.throws(() => parseEdgerc('', 'ccu'), { message: 'The .edgerc has no section [ccu]: it holds no section at all.' })
  t.throws(() => parseEdgerc('[default]\nhost = h\nclient_secret = SECRET\nclient_token ='), { message: 'The section [default] of the .edgerc lacks client_token, access_token.' })
  for (const host of ['https://h/papi', 'a b', 'user@h']) {
    t.throws(() => parseEdgerc(['[default]', ...lines, `host = ${host}`].join('\n')), { message: 'The host in section [default] of the .edgerc is not a host name.' })
  }
})
