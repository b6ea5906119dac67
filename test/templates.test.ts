import t from 'tap'
import { checkPlaceholders, checkTagTemplate, checkUrlTemplate, fillTemplate } from '../src/templates.ts'

t.test('a template is filled in one pass', async t => {
  t.equal(fillTemplate('a/{key}/{keyWithoutPrefix}/{key}', { key: '{keyWithoutPrefix}', keyWithoutPrefix: '$&' }), 'a/{keyWithoutPrefix}/$&/{keyWithoutPrefix}')
  t.equal(fillTemplate('{key}', { key: 'a b', keyWithoutPrefix: '' }, encodeURIComponent), 'a%20b')
})

t.test('what a template cannot be is told', async t => {
  t.match(checkPlaceholders('web/{kye}'), /holds \{kye\}, and the placeholders are/)
  t.match(checkPlaceholders('web'), /neither \{key\} nor \{keyWithoutPrefix\}/)
  t.equal(checkPlaceholders('web', false), undefined)
  const urls: Array<[string, RegExp]> = [
    ['https://www.example.com/', /neither/],
    ['https://www.example.com/{name}', /holds \{name\}/],
    ['https://{key}.example.com/', /placeholder in its host/],
    ['https://www.example.com{key}', /is a slash missing/],
    ['https://www.example.com/{{key}', /stray brace/],
    ['www.example.com/{key}', /neither an absolute http\(s\) URL nor an ARL/],
    ['https://www.example.com/a b/{key}', /space or control/],
    ['https://www.example.com/{key}*', /no wildcards/],
    ['https://user:x@www.example.com/{key}', /user name or password/]
  ]
  for (const [template, words] of urls) t.match(checkUrlTemplate(template), words, template)
  for (const template of ['https://www.example.com/{key}', 'http://www.example.com:8080/x/{keyWithoutPrefix}?a=b', '/L/512/6848/1h/www.example.com/{key}']) t.equal(checkUrlTemplate(template), undefined)
  t.match(checkTagTemplate('{name}'), /holds \{name\}/)
  t.match(checkTagTemplate('a b'), /holds " "/)
  t.match(checkTagTemplate('{key}', 'img/'), /holds "\/"/)
  for (const template of ['web', 'web-{keyWithoutPrefix}', '{key}']) t.equal(checkTagTemplate(template), undefined)
})
