import t from 'tap'
import { checkGlob, compileGlob } from '../src/glob.ts'

t.test('globs are held against the whole key', async t => {
  const table: Array<[string, string[], string[]]> = [
    ['**/*.js', ['a.js', 'static/a.js', 'static/x/a.js', '.x/.a.js'], ['a.JS', 'a.js/b', 'a.jsx']],
    ['*.js', ['a.js', '.js'], ['x/a.js']],
    ['static/**', ['static/a', 'static/x/.y/z'], ['static', 'statics/a', 'Static/a']],
    ['static/*/a?.png', ['static/x/ab.png', 'static/x/a日.png', 'static/x/a😀.png'], ['static/ab.png', 'static/x/a.png', 'static/x/y/ab.png']],
    ['{img,css}/**/*.{png,css}', ['img/a.png', 'css/x/y/a.css'], ['js/a.png', 'img/a.js']],
    ['[a-c]/[!x]*', ['a/y', 'c/yy'], ['d/y', 'a/x']],
    ['!(tmp)/*', ['web/a', 'tmpx/a'], ['tmp/a']],
    ['#a', ['#a'], ['a']],
    ['a b/ü+*.txt', ['a b/ü+1.txt'], ['a b/u+1.txt']],
    ['a[*]b', ['a*b'], ['axb']]
  ]
  for (const [glob, taken, left] of table) {
    const matches = compileGlob(glob)
    for (const key of taken) t.ok(matches(key), `${glob} takes ${key}`)
    for (const key of left) t.notOk(matches(key), `${glob} leaves ${key}`)
    t.equal(checkGlob(glob), undefined)
  }
})

t.test('no key makes a glob think for long', async t => {
  // Each of these keeps a backtracking matcher busy for longer than any test may take.
  const table: Array<[string, string]> = [
    ['**/*-*-*-*-*-*-*-*.js', '-'.repeat(1024)],
    ['+(a|aa|aaa)+(a|aa)*.js', 'a'.repeat(1024)],
    ['**/*a*/**/*a*/**/*a*/**/*a*/**/*a*/**/b', 'a/'.repeat(511)],
    ['?*?*?*?*?*?*?*?*?*?*?*?*x', 'a'.repeat(1024)]
  ]
  for (const [glob, key] of table) t.notOk(compileGlob(glob)(key), glob)
})

t.test('a glob that can take nothing, or not what was meant, is told', async t => {
  const table: Array<[string, string, RegExp]> = [
    ['/a', '', /begins with a slash/],
    ['!a', '', /write what is to be left out under exclude/],
    ['a/', '', /write a\/\*\* for all below it/],
    ['a//b', '', /holds "\/\/"/],
    ['./a', '', /segment "\." or "\.\."/],
    ['a/../b', '', /segment/],
    ['a\\b', '', /holds a backslash/],
    ['a[b', '', /"\[" that is not closed/],
    ['{a,b', '', /"\{" that is not closed/],
    ['+(a', '', /"\(" that is not closed/],
    ['*.js', 'static/', /nothing below the prefix "static\/".*write \*\*\/\*\.js or static\/\*\.js/],
    ['css/*.js', 'static/v', /write \*\*\/\*\.js or static\/css\/\*\.js/]
  ]
  for (const [glob, prefix, words] of table) t.match(checkGlob(glob, prefix), words, glob)
  for (const [glob, prefix] of [['**/*.js', 'static/'], ['st*/x/**', 'static/'], ['static/x/*', 'static/'], ['*.js', 'static'], ['(a)b', ''], ['a}b)', ''], ['{a,[}]}', '']] as const) t.equal(checkGlob(glob, prefix), undefined, glob)
})
