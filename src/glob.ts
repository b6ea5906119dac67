import { Minimatch } from 'minimatch'

/**
 * One reading of a glob, whatever the machine: case counts, names that begin with a dot are like any other, and neither
 * `!` nor `#` at the front means anything of its own.
 */
const options = { dot: true, nonegate: true, nocomment: true, platform: 'linux' } as const

/**
 * A test of whole keys: `**` stands for any number of folders, none included, so that `**\/*.js` takes `a.js` and
 * `x/a.js`; `*` and `?` stay within one folder. The time it takes grows with the key and never explodes, because no
 * backtracking regular expression is made of it: keys come from strangers.
 */
export function compileGlob (glob: string): (key: string) => boolean {
  const compiled = new Minimatch(glob, options)
  return key => compiled.match(key)
}

/**
 * Why a glob can take no key that begins with `prefix`, or is likely meant otherwise, in words that follow its name;
 * `undefined` if it is good.
 */
export function checkGlob (glob: string, prefix = ''): string | undefined {
  if (glob.startsWith('/')) return 'begins with a slash, and no key does: leave it out'
  if (glob.startsWith('!') && glob[1] !== '(') return 'begins with "!": write what is to be left out under exclude'
  if (glob.endsWith('/')) return `ends with a slash, and no object that is copied does: write ${glob}** for all below it`
  if (glob.includes('//')) return 'holds "//", and no key that can be copied does'
  if (glob.split('/').some(segment => segment === '.' || segment === '..')) return 'holds a segment "." or "..", and no key that can be copied does'
  if (glob.includes('\\')) return 'holds a backslash: folders are divided by "/", and a sign that means something is taken literally in brackets, as in [*]'
  const open = findUnclosed(glob)
  if (open !== undefined) return `holds a "${open}" that is not closed: put a literal one in brackets, as in [${open}]`
  const folders = prefix.slice(0, prefix.lastIndexOf('/') + 1).replace(/\/$/, '')
  if (folders !== '' && !new Minimatch(glob, { ...options, partial: true }).match(folders)) {
    return `can take nothing below the prefix "${prefix}", because globs are held against the whole key: write **/${glob.replace(/^.*\//, '')} or ${folders}/${glob}`
  }
  return undefined
}

/** The first bracket that opens a class, a choice or a group and is never closed. */
function findUnclosed (glob: string): string | undefined {
  const open: string[] = []
  let inClass = false
  for (const [index, sign] of [...glob].entries()) {
    if (inClass) inClass = sign !== ']'
    else if (sign === '[') inClass = true
    else if (sign === '{' || (sign === '(' && /[!?*+@]/.test([...glob][index - 1] ?? ''))) open.push(sign)
    else if ((sign === '}' && open.at(-1) === '{') || (sign === ')' && open.at(-1) === '(')) open.pop()
  }
  return inClass ? '[' : open.at(-1)
}
