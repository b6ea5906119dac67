/** One EdgeGrid API client. Everything but the host is secret. */
export interface EdgeGridCredentials {
  /** Bare host name; or an origin with its scheme, for emulators. */
  host: string
  clientToken: string
  clientSecret: string
  accessToken: string
  /** Which account to act for, as `1-5C0YLB:1-8BYUX`. */
  accountSwitchKey?: string
}

const needed = ['host', 'client_token', 'client_secret', 'access_token'] as const

/**
 * The credentials of one section of an `.edgerc` file. As tolerant as all of Akamai's clients together: CRLF, a byte order
 * mark, `;` and `#` comments, dashes or underscores in keys, quoted values, `https://` and a trailing slash on the host.
 * Throws a plain error that names what is missing, and never a value.
 */
export function parseEdgerc (text: string, section = 'default'): EdgeGridCredentials {
  const sections = readSections(text)
  const values = sections.get(section)
  if (values === undefined) {
    const names = [...sections.keys()].map((name) => `[${name}]`).join(', ')
    throw new Error(`The .edgerc has no section [${section}]: it holds ${names === '' ? 'no section at all' : names}.`)
  }
  const [host = '', clientToken = '', clientSecret = '', accessToken = ''] = needed.map((key) => values.get(key))
  const missing = needed.filter((key) => (values.get(key) ?? '') === '')
  if (missing.length > 0) throw new Error(`The section [${section}] of the .edgerc lacks ${missing.join(', ')}.`)
  const bareHost = host.replace(/^https:\/\//i, '').replace(/\/+$/, '')
  if (!/^(?:http:\/\/)?[A-Za-z0-9.-]+(?::\d+)?$/.test(bareHost)) throw new Error(`The host in section [${section}] of the .edgerc is not a host name.`)
  const accountSwitchKey = values.get('account_key') ?? values.get('account_switch_key') ?? ''
  return { host: bareHost, clientToken, clientSecret, accessToken, ...(accountSwitchKey === '' ? {} : { accountSwitchKey }) }
}

/** Sections by name, their keys in lower case with underscores. What stands before the first section belongs to none. */
function readSections (text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>()
  let current: Map<string, string> | undefined
  for (const raw of text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)) {
    const line = raw.trim()
    if (line === '' || /^[;#]/.test(line)) continue
    const name = /^\[(.*?)\]\s*(?:[;#].*)?$/.exec(line)?.[1]?.trim()
    if (name !== undefined) {
      current = sections.get(name) ?? new Map()
      sections.set(name, current)
      continue
    }
    const equals = line.indexOf('=')
    if (equals > 0) current?.set(line.slice(0, equals).trim().toLowerCase().replaceAll('-', '_'), readValue(line.slice(equals + 1).trim()))
  }
  return sections
}

/** A value without its quotes or its inline comment, which needs a space before it: secrets may hold `;` and `#`. */
function readValue (text: string): string {
  return /^(["'])(.*?)\1\s*(?:[;#].*)?$/.exec(text)?.[2] ?? text.replace(/(?:^|\s+)[;#]\s.*$/, '')
}
