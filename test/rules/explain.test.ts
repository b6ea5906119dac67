import t from 'tap'
import { readEnvironment } from '../../src/environment.ts'
import { explainKey } from '../../src/rules/explain.ts'
import { parseRules } from '../../src/rules/file/parse.ts'
import { readRuleSet } from '../../src/rules/read.ts'
import type { RuleSet } from '../../src/rules/rule-set.ts'
import type { Rule } from '../../src/mapping.ts'

/** The rules of a text, on an account that holds CP code 5. */
function setOf (rules: string): RuleSet {
  const { file, faults } = parseRules(rules, { production: true, target: 'unknown', edgegrid: true })
  if (faults.length > 0) throw new Error(faults[0]?.message)
  const made = file.rules.map((rule): Rule => ({ cpCode: 5, ...rule }))
  return { rules: made, targets: {}, edgegrids: {}, buckets: [...new Set(made.map(rule => rule.bucket))], hosts: [] }
}
const explain = (rules: string, bucket: string, key: string) => {
  const { isCopied, lines } = explainKey(setOf(rules), bucket, key)
  return { isCopied, text: lines.join('\n') }
}

t.test('each rule that loses says why', async t => {
  const rules = `rules:
- { name: all, bucket: one, purge: { by: none } }
- { name: winner, bucket: one, prefix: js/, include: ["**/*.js"], purge: { by: none } }
- { name: short, bucket: one, prefix: j, purge: { by: none } }
- { name: deep, bucket: one, prefix: js/lib/, purge: { by: none } }
- { name: fonts, bucket: one, prefix: js/, include: ["**/*.woff", "**/*.woff2"], purge: { by: none } }
- { name: not, bucket: one, prefix: js/, exclude: ["**/*.map", "**/a.*"], purge: { by: none } }
- { name: below, bucket: one, prefix: js/, purge: { by: none } }
- { name: far, bucket: two, purge: { by: none } }
- { name: away, bucket: three, purge: { by: none } }
`
  const { isCopied, text } = explain(rules, 'one', 'js/a.js')
  t.ok(isCopied)
  t.match(text, /rule +winner, for the prefix js\//)
  t.equal(text.slice(text.indexOf('Rules that lose')), `Rules that lose:
  all: it takes the key too, but its prefix is empty
  short: it takes the key too, but its prefix is shorter: j
  deep: the key does not begin with js/lib/
  fonts: none of its include globs takes the key: **/*.woff, **/*.woff2
  not: its exclude glob **/a.* takes the key
  below: it takes the key too, by a prefix as long, but stands below
  2 rules of other buckets`)
})

t.test('each way to purge is told, also for what vanishes', async t => {
  const table: Array<[string, RegExp]> = [
    ['purge: { by: none }', /purge +nothing\nvanished +deleted on NetStorage, and nothing is purged/],
    ['purge: { by: tag, tags: [all, "x-{key}"], action: delete }', /purge +delete on production by cache tag, with the credentials default:\n +all\n +x-a\.js\nvanished .*, and the same cache tags are purged/],
    ['purge: { by: cpcode, cpCodes: [9] }', /purge +invalidate on production by CP code, .*:\n +9\nvanished .*, and the same CP codes are purged/],
    ['purge: { by: url, urls: ["https://x.example/{key}"] }, deletes: ignore', /https:\/\/x\.example\/a\.js\nvanished +left on NetStorage, and nothing is purged/]
  ]
  for (const [purge, words] of table) t.match(explain(`rules: [{ name: a, bucket: one, ${purge} }]`, 'one', 'a.js').text, words)
})

t.test('what would be refused is said', async t => {
  const of = (metadata: string) => explain(`rules: [{ name: a, bucket: one, metadata: ${metadata}, purge: { by: none } }]`, 'one', 'a').text
  t.match(of('{}'), /refused +an object with a Content-Encoding, a website redirect$/)
  t.match(of('{ contentEncoding: ignore }'), /refused +a website redirect$/)
  t.notMatch(of('{ contentEncoding: ignore, redirect: ignore }'), /refused/)
})

t.test('what is not copied says so', async t => {
  const rules = 'rules: [{ name: a, bucket: one-assets, prefix: x, purge: { by: none } }]'
  t.match(explain(rules, 'one-assets', 'y'), { isCopied: false, text: /No rule takes this key: it is not copied\.\n\nWhat keeps the rules from it:\n {2}a: the key does not begin with x$/ })
  t.match(explain(rules, 'one-asset', 'x'), { isCopied: false, text: /No rule is about the bucket one-asset: did you mean one-assets\?/ })
  t.match(explain(rules, 'one-assets', 'x/'), { isCopied: false, text: /refused +The key "x\/" cannot be copied[^]*If it is empty it stands for a folder, and is ignored\.$/ })
  t.match(explain(rules, 'one-assets', 'x\u0000'), { isCopied: false, text: /U\+0000/ })
})

t.test('the host of an account is shown where it is known, its key never', async t => {
  const { set } = readRuleSet(readEnvironment({ S3_BUCKETS: 'one', NS_HOSTNAME: 'example-nsu.akamaihd.net', NS_CP: '5', NS_KEYNAME: 'k', NS_KEY: 'hunter2', PURGE_BY: 'none' }, []))
  const text = explainKey(set, 'one', 'a').lines.join('\n')
  t.match(text, /target +default, example-nsu\.akamaihd\.net\npath +\/5\/a\n/)
  t.notMatch(text, /hunter2/)
})
