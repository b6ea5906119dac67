/** The kinds of object a request can name. */
export type ObjectType = 'url' | 'cpcode' | 'tag'

/** What the service says to a request it refuses. */
export interface ServiceRefusal { status: number, title: string, detail: string, extra?: Record<string, unknown> }

const attribute = (detail: string): ServiceRefusal => ({ status: 400, title: 'invalid attribute value', detail })

/** The objects of a body, or why it is refused: `objects` alone, an array, not empty, of the type's form. */
export function readObjects (body: Buffer, type: ObjectType): Array<string | number> | ServiceRefusal {
  let json: unknown
  try {
    json = JSON.parse(body.toString('utf8'))
  } catch {
    return { status: 400, title: 'Bad request', detail: 'the body is not valid JSON' }
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return attribute('the body must be a JSON object')
  const unknown = Object.keys(json).find(name => name !== 'objects')
  if (unknown !== undefined) return attribute(`'${unknown}' is not a known attribute`)
  const { objects } = json as { objects?: unknown }
  if (objects === undefined || (Array.isArray(objects) && objects.length === 0)) return attribute("'objects' attribute cannot be missing or empty")
  if (!Array.isArray(objects)) return attribute(`'objects' attribute has expected type:[]string, received:${typeof objects}`)
  for (const object of objects as unknown[]) {
    const refusal = type === 'url' ? checkUrl(object) : type === 'cpcode' ? checkCpCode(object) : checkTag(object)
    if (refusal !== undefined) return refusal
  }
  return objects as Array<string | number>
}

function checkUrl (url: unknown): ServiceRefusal | undefined {
  if (typeof url !== 'string') return attribute('an object is not a string')
  const odd = /[^\x21-\x7e]/u.exec(url)?.[0]
  if (odd !== undefined) return { status: 400, title: 'bad URL', detail: `Invalid or malformed URL '${url}': contains non-ASCII character '${odd}'` }
  if (/^\/[A-Z]\/\d+\/\d+\//.test(url)) return undefined
  if (!/^https?:\/\//.test(url) || url.includes('*')) return { status: 400, title: 'bad URL', detail: `Invalid or malformed URL '${url}'` }
  if (!/^https?:\/\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?(\/|$|\?)/i.test(url)) return { status: 400, title: 'bad URL hostname', detail: 'Invalid or malformed hostname' }
  return undefined
}

function checkCpCode (code: unknown): ServiceRefusal | undefined {
  return typeof code === 'number' && Number.isInteger(code) && code > 0 ? undefined : { status: 400, title: 'bad cpcode', detail: String(code) }
}

function checkTag (tag: unknown): ServiceRefusal | undefined {
  return typeof tag === 'string' && /^[A-Za-z0-9!#$%&'+\-.^_`|~]+$/.test(tag) ? undefined : { status: 400, title: 'bad tag', detail: String(tag) }
}
