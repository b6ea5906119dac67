import type { IncomingMessage } from 'node:http'
import { SaxesParser } from 'saxes'

/** What a request does to objects; all that changes none is a read or `other`. */
export type Operation = 'read' | 'put' | 'copy' | 'complete' | 'delete' | 'delete-many' | 'put-versioning' | 'other'

/** A request line as S3 means it, path style. */
export interface Target {
  bucket: string
  /** Literal. */
  key: string
  /** As it came, without the query. */
  path: string
  query: URLSearchParams
}

// Parts of an object or stages of an upload that a request can be about instead of the object itself.
const others = ['uploads', 'partNumber', 'acl', 'tagging', 'retention', 'legal-hold', 'restore', 'attributes', 'renameObject', 'torrent', 'select']

/** Takes a request line apart. @throws URIError when the path is not UTF-8 */
export function targetOf (url: string): Target {
  const [path = '', query = ''] = url.split(/\?(.*)/s)
  const [, bucket = '', ...rest] = path.split('/')
  return { bucket, key: decodeURIComponent(rest.join('/')), path, query: new URLSearchParams(query) }
}

/** What a request does. */
export function operationOf ({ method, headers }: IncomingMessage, { key, query }: Target): Operation {
  if (key === '') {
    if (method === 'POST' && query.has('delete')) return 'delete-many'
    return method === 'PUT' && query.has('versioning') ? 'put-versioning' : 'other'
  }
  if (others.some(name => query.has(name))) return 'other'
  if (query.has('uploadId')) return method === 'POST' ? 'complete' : 'other'
  if (method === 'GET' || method === 'HEAD') return 'read'
  if (method === 'PUT') return headers['x-amz-copy-source'] === undefined ? 'put' : 'copy'
  return method === 'DELETE' ? 'delete' : 'other'
}

/** The objects that a DeleteObjects body names. */
export function readDeletes (xml: string): { quiet: boolean, objects: Array<{ key: string, versionId?: string }> } {
  const objects: Array<{ key: string, versionId?: string }> = []
  let quiet = false
  let text = ''
  const parser = new SaxesParser()
  parser.on('opentag', ({ name }) => {
    text = ''
    if (name === 'Object') objects.push({ key: '' })
  })
  parser.on('text', more => { text += more })
  parser.on('closetag', ({ name }) => {
    const last = objects.at(-1)
    if (name === 'Quiet') quiet = text === 'true'
    if (name === 'Key' && last !== undefined) last.key = text
    if (name === 'VersionId' && last !== undefined) last.versionId = text
  })
  parser.write(xml).close()
  return { quiet, objects }
}
