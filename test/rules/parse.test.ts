import t from 'tap'
import type { Surroundings } from '../../src/rules/file/checks.ts'
import { parseRules } from '../../src/rules/file/parse.ts'

/** A file without a fault; each case breaks it in one or more places. */
const good = `targets:
  main: { hostname: example-nsu.akamaihd.net, keyName: upload, keyFile: /run/secrets/ns, cpCodes: [123456, 7] }
edgegrids:
  ccu: { edgerc: /run/secrets/edgerc }
rules:
  - name: web
    bucket: assets
    prefix: static/
    include: ["**/*.js"]
    target: main
    path: "web/{key}"
    purge: { by: url, urls: ["https://www.example.com/{key}"], edgegrid: ccu }
  - name: rest
    bucket: assets
    target: main
    purge: { by: none }
`
const alone: Surroundings = { production: false, target: undefined, edgegrid: false }

const faultsOf = (source: string, surroundings: Partial<Surroundings> = {}) =>
  parseRules(source, { ...alone, ...surroundings }).faults.map(({ line, column, message }) => `${line}:${column}: ${message}`)

t.test('a good file is understood, and its defaults are filled in', async t => {
  const { file, faults, warnings } = parseRules(good, alone)
  t.same(faults, [])
  t.same(warnings, [])
  t.same(file.rules[1], {
    name: 'rest',
    bucket: 'assets',
    prefix: '',
    include: [],
    exclude: [],
    target: 'main',
    path: '{key}',
    deletes: 'propagate',
    etagIsMd5: 'auto',
    metadata: { contentEncoding: 'refuse', redirect: 'refuse' },
    purge: { by: 'none', spelling: 'both', indexDocuments: ['index.html'], action: 'invalidate', network: 'production', edgegrid: 'default' }
  })
  t.same(file.edgegrids, { ccu: { edgerc: '/run/secrets/edgerc', section: 'default' } })
})

t.test('JSON will do, and so will anchors and a byte order mark', async t => {
  const json = JSON.stringify({ $schema: './rules.schema.json', rules: [{ name: 'a', bucket: 'b', purge: { by: 'none' } }] }, null, '\t')
  t.same(faultsOf(`\uFEFF${json}`, { target: 'unknown' }), [])
  t.same(faultsOf('rules:\n- { name: a, bucket: b, purge: &none { by: none } }\n- { name: c, bucket: d, purge: *none }\n', { target: 'unknown' }), [])
})

t.test('the environment makes what is named default, unless the file does', async t => {
  const source = 'rules: [{ name: a, bucket: b, cpCode: 5, purge: { by: url, urls: ["https://www.example.com/{key}"] } }]'
  t.match(faultsOf(source).join('\n'), /^1:9: rules\[0\]\.target names no target "default": give it under targets, or set NS_HOSTNAME.*\n1:49: rules\[0\]\.purge\.edgegrid names no credentials "default": give them/)
  t.same(faultsOf(source, { target: { hostname: 'h', cpCodes: [5] }, edgegrid: true }), [])
  t.match(faultsOf(source, { target: { hostname: 'h', cpCodes: [6] }, edgegrid: true }), [/^1:39: rules\[0\]\.cpCode 5 is none of the cpCodes of target "default" \(6\)/])
  const own = `targets: { default: { hostname: h, keyName: k, keyFile: f, cpCodes: [5] } }\n${source}`
  t.same(faultsOf(own, { target: { hostname: 'h', cpCodes: [5, 6] }, edgegrid: true }), [])
})

t.test('each fault is named with its line, its column and what to do', async t => {
  const rule = 'bucket: b, target: main, purge: { by: none } }'
  /** What is replaced in the good file, and all the faults that follow. */
  const table: Array<[string | RegExp, string, ...RegExp[]]> = [
    // Members
    ['bucket: assets\n    prefix', 'buckt: assets\n    prefix', /^6:5: rules\[0\] lacks "bucket": the S3 bucket/, /^7:5: "buckt" is not known here: did you mean bucket\?/],
    ['include: [', 'Include: [', /^9:5: "Include" is not known here: did you mean include\?/],
    ['keyFile: /run', 'key_file: /run', /^2:9: targets\.main lacks "keyFile"/, /^2:64: "key_file" is not known here: did you mean keyFile\?/],
    [/$/, 'colour: 1\n', /^17:1: "colour" is not known here: known are targets, edgegrids, rules$/],
    ['name: rest\n    bucket: assets\n', 'name: rest\n', /^13:5: rules\[1\] lacks "bucket"/],
    ['    purge: { by: none }\n', '', /^13:5: rules\[1\] lacks "purge": how the edge is freshened.*\{ by: none \} for not at all/],
    ['{ by: none }', '{}', /^16:12: rules\[1\]\.purge lacks "by"/],
    ['name: rest', '? [a]\n    : rest\n    name: rest', /^13:7: a name must be plain text/],
    // Secrets
    ['keyFile: /run/secrets/ns', 'key: hunter2', /^2:9: targets\.main lacks "keyFile"/, /^2:64: "key" does not belong here, as no secret does: put the key into a file of its own, and name that with keyFile/],
    ['{ edgerc: /run/secrets/edgerc }', '{ edgerc: x, client_secret: hunter2 }', /^4:21: "client_secret" does not belong here.*\.edgerc/],
    // Types
    ['cpCodes: [123456, 7]', 'cpCodes: ["123456", 7]', /^2:100: targets\.main\.cpCodes\[0\] must be a whole number, without quotes/],
    ['cpCodes: [123456, 7]', 'cpCodes: 123456', /^2:99: targets\.main\.cpCodes must be a list$/],
    ['["**/*.js"]', '"**/*.js"', /^9:14: rules\[0\]\.include must be a list: put brackets around it/],
    ['path: "web/{key}"', 'path: {key}', /^11:11: rules\[0\]\.path must be text: text that begins with \{ must stand in quotes/],
    ['prefix: static/', 'prefix: 2024', /^8:13: rules\[0\]\.prefix must be text: put it in quotes/],
    ['prefix: static/', 'prefix: [a]', /^8:13: rules\[0\]\.prefix must be text$/],
    ['name: rest', 'name:', /^13:10: rules\[1\]\.name must be text, and there is nothing here/],
    ['targets:\n', 'targets: 7\nx:\n', /^1:10: targets must be a map of members/, /^2:1: "x" is not known here/],
    ['edgegrids:\n', 'edgegrids: []\nx:\n', /^3:12: edgegrids must be a map of members/, /^4:1: "x" is not known here/],
    [/rules:[^]*/, 'rules:\n- 1\n- name: a\n', /^6:3: rules\[0\] must be a map of members/, /^7:3: rules\[1\] lacks "bucket"/, /^7:3: rules\[1\] lacks "purge"/, /^7:3: rules\[1\]\.target names no target/],
    [/rules:[^]*/, 'rules: {}\n', /^5:8: rules must be a list$/],
    [/rules:[^]*/, 'rules: []\n', /^5:8: rules must not be empty/],
    [/rules:[^]*/, '', /^1:1: the file lacks "rules": the rules/],
    [/[^]*/, '- 1\n', /^1:1: the file must be a map of members/],
    [/[^]*/, '7', /^1:1: the file must be a map of members/],
    [/[^]*/, '# nothing\n', /^1:1: the file holds nothing/],
    // Values
    ['by: url', 'by: urls', /^12:18: rules\[0\]\.purge\.by must be one of url, cpcode, tag, none/],
    ['bucket: assets\n    prefix', 'bucket: ""\n    prefix', /^7:13: rules\[0\]\.bucket must not be empty/],
    ['name: web', 'name: my web', /^6:11: rules\[0\]\.name must be a name: letters/],
    ['name: web', `name: ${'a'.repeat(64)}`, /^6:11: rules\[0\]\.name must be a name/],
    ['  main: {', `  main: { hostname: x, keyName: k, keyFile: f, cpCodes: [1] }\n  "${'a b'.repeat(30)}": {`, /^3:3: "(a b){20}\.\.\." must be a name/],
    ['hostname: example', 'hostname: https://example', /^2:21: targets\.main\.hostname must be a bare host name/],
    ['keyName: upload', 'keyName: "up load"', /^2:56: targets\.main\.keyName must hold no comma and no space/],
    ['[123456, 7]', '[123456, 7, 123456]', /^2:111: targets\.main\.cpCodes\[2\] is in the list already/],
    ['[123456, 7]', '[0, 99999999999]', /^2:100: targets\.main\.cpCodes\[0\] must be at least 1/, /^2:103: targets\.main\.cpCodes\[1\] must be at most 2147483647/],
    ['[123456, 7] }', '[123456, 7], writesPerSecond: 0 }', /^2:129: targets\.main\.writesPerSecond must be more than 0/],
    ['prefix: static/', `prefix: ${'a'.repeat(1025)}`, /^8:13: rules\[0\]\.prefix must be no longer than 1024/, /^8:13: rules\[0\]\.prefix has 1026 bytes/],
    // Names that lead nowhere
    ['target: main\n    path', 'target: mian\n    path', /^10:13: rules\[0\]\.target names no target "mian": did you mean main\?/],
    ['target: main\n    path', 'target: other\n    path', /^10:13: rules\[0\]\.target names no target "other": known are main$/],
    ['edgegrid: ccu', 'edgegrid: cuc', /^12:74: rules\[0\]\.purge\.edgegrid names no credentials "cuc": known are ccu$/],
    ['target: main\n    path', 'target: main\n    cpCode: 8\n    path', /^11:13: rules\[0\]\.cpCode 8 is none of the cpCodes of target "main" \(123456, 7\)/],
    ['  main:', '  twin: { hostname: EXAMPLE-nsu.akamaihd.net, keyName: other, keyFile: f, cpCodes: [7] }\n  main:', /^3:108: targets\.main\.cpCodes\[1\] 7 belongs to target "twin" already/],
    // Rules beside each other
    ['name: rest', 'name: web', /^13:11: rules\[1\]\.name "web" is the name of a rule above/],
    [/$/, `  - { name: never, ${rule}\n  - { name: nor, bucket: b, exclude: [x], target: main, purge: { by: none } }\n`, /^18:26: rules\[3\]\.bucket meets a rule that can never win: "never" above/],
    [/$/, '  - { name: never, bucket: assets, prefix: static/, include: ["**/*.js"], exclude: ["**/x"], target: main, purge: { by: none } }\n', /^17:28: rules\[2\]\.bucket meets a rule that can never win: "web" above/],
    [/$/, '  - { name: fine, bucket: assets, prefix: static/, include: ["**/*.js", "**/*.css"], target: main, purge: { by: none } }\n'],
    // Keys, globs, paths
    ['prefix: static/', 'prefix: /static/', /^8:13: rules\[0\]\.prefix begins with a slash/],
    ['prefix: static/', 'prefix: a//', /^8:13: rules\[0\]\.prefix holds "\/\/"/],
    ['prefix: static/', 'prefix: a/../b', /^8:13: rules\[0\]\.prefix holds the segment "\.\."/],
    ['["**/*.js"]', '["css/*.js", "**/a[b"]', /^9:15: rules\[0\]\.include\[0\] can take nothing below the prefix "static\/"/, /^9:27: rules\[0\]\.include\[1\] holds a "\["/],
    ['target: main\n    path', 'exclude: ["!x"]\n    target: main\n    path', /^10:15: rules\[0\]\.exclude\[0\] begins with "!"/],
    ['web/{key}', 'web/', /^11:11: rules\[0\]\.path holds neither \{key\} nor/],
    ['web/{key}', 'web/{kye}', /^11:11: rules\[0\]\.path holds \{kye\}/],
    ['web/{key}', '/web/{key}', /^11:11: rules\[0\]\.path begins with a slash/],
    ['web/{key}', '../{key}', /^11:11: rules\[0\]\.path holds the segment "\.\."/],
    ['web/{key}', '{key}/', /^11:11: rules\[0\]\.path ends with a slash/],
    ['web/{key}', '123456/{key}', /^11:11: rules\[0\]\.path begins with the CP code 123456/],
    // Purges
    [', urls: ["https://www.example.com/{key}"]', '', /^12:18: rules\[0\]\.purge\.by is url, and that needs urls: say which, such as urls: \[/],
    ['by: none', 'by: cpcode, edgegrid: ccu', /^16:18: rules\[1\]\.purge\.by is cpcode, and that needs cpCodes/],
    ['by: none', 'by: tag, tags: [], edgegrid: ccu', /^16:18: rules\[1\]\.purge\.by is tag, and that needs tags/],
    ['by: none', 'by: tag, tags: ["a b", "x-{key}", "x-{id}"], edgegrid: ccu', /^16:30: rules\[1\]\.purge\.tags\[0\] holds " "/, /^16:48: rules\[1\]\.purge\.tags\[2\] holds \{id\}/],
    ['https://www.example.com/{key}', 'www.example.com/{key}', /^12:30: rules\[0\]\.purge\.urls\[0\] is neither an absolute/],
    ['https://www.example.com/{key}', 'https://www.example.com/', /^12:30: rules\[0\]\.purge\.urls\[0\] holds neither/],
    ['edgegrid: ccu', 'edgegrid: ccu, indexDocuments: [a/b]', /^12:96: rules\[0\]\.purge\.indexDocuments\[0\] must be a file name/],
    // Syntax
    ['name: rest', 'name: "rest', /^13:11: this quote is not closed/],
    ['    bucket: assets\n    prefix', '   bucket: assets\n    prefix', /^7:1: a sign is missing here/, /^8:13: a second ": "/, /^10:1: the indentation does not fit/, /^11:1:/, /^12:1:/],
    ['["**/*.js"]', '[**/*.js]', /^9:15: no anchor .* must stand in quotes/],
    ['"**/*.js"', '"\\q"', /^9:16: a backslash in double quotes/],
    ['name: rest', 'name: @rest', /^13:11: text that begins with a sign such as @/],
    ['name: rest', 'name: a: b', /^13:11: a second ": "/],
    ['name: rest', 'name: rest\n    name: again', /^14:5: this member stands here a second time/],
    ['name: rest', 'name: !foo rest', /^13:11: YAML tags have no meaning here/],
    ['name: rest', 'name: *rest', /^13:11: no anchor &rest stands above/],
    ['name: rest', `name: *${'rest'.repeat(20)}`, /^13:11: no anchor &\.\.\. stands above/],
    ['    bucket: assets\n    target', '\tbucket: assets\n    target', /^14:1: YAML is indented with spaces/, /^15:13: a second/],
    [/$/, '---\na: 1\n', /^17:1: a second document begins here/]
  ]
  for (const [what, by, ...wanted] of table) {
    const source = good.replace(what, by)
    const faults = faultsOf(source)
    t.equal(faults.length, wanted.length, `${by}: ${faults.join(' | ')}`)
    for (const [index, words] of wanted.entries()) t.match(faults[index], words)
    t.notMatch(faults.join(), /hunter2/)
  }
})
