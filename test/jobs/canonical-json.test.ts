import t from 'tap'
import { canonicalJson } from '../../src/jobs/canonical-json.ts'

t.test('equal values have equal texts, after the examples of RFC 8785', async t => {
  const cases: Array<[string, string]> = [
    ['{"b":1,"a":[true,null,"x"]}', '{"a":[true,null,"x"],"b":1}'],
    [' { "b" : { "d" : 2 , "c" : 1 } } ', '{"b":{"c":1,"d":2}}'],
    ['[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001, -0, 1.0]', '[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1]'],
    ['{"\\u20ac":"Euro","\\r":"CR","\\ufb33":"Dalet","1":"One","\\ud83d\\ude00":"Smiley","\\u0080":"Control","\\u00f6":"o"}', '{"\\r":"CR","1":"One","\u0080":"Control","ö":"o","€":"Euro","😀":"Smiley","\ufb33":"Dalet"}'],
    ['"\\u0061\\/\\ud800"', '"a/\\ud800"'],
    ['[]', '[]'],
    ['{}', '{}']
  ]
  for (const [text, canonical] of cases) t.equal(canonicalJson(JSON.parse(text)), canonical)
})
