import type { IncomingMessage, ServerResponse } from 'node:http'
import { refuse, xmlEscape } from './answer.ts'
import type { Notifications } from './notifications/notifications.ts'
import { readDeletes, type Operation, type Target } from './operation.ts'
import type { Behind, BehindAnswer, PassOptions } from './pass.ts'
import { objectPath, type Removal, type Versions } from './versions.ts'

interface WritesOptions {
  behind: Behind
  versions: Versions
  notifications: Notifications
  /** Takes an object made by size and seed away; tells whether there was one. */
  dropSynthetic: (bucket: string, key: string) => boolean
}

const createdBy = { put: 'ObjectCreated:Put', copy: 'ObjectCreated:Copy', complete: 'ObjectCreated:CompleteMultipartUpload' } as const

/** All that changes objects: passes it on, keeps versions, and tells the notifications what came of it. */
export class Writes {
  readonly #options: WritesOptions

  constructor (options: WritesOptions) {
    this.#options = options
  }

  /** Whether an operation is one of these. */
  static covers (operation: Operation): operation is 'put' | 'copy' | 'complete' | 'delete' | 'delete-many' {
    return ['put', 'copy', 'complete', 'delete', 'delete-many'].includes(operation)
  }

  async answer (operation: 'put' | 'copy' | 'complete' | 'delete' | 'delete-many', target: Target, request: IncomingMessage, response: ServerResponse, fault: PassOptions['fault']): Promise<void> {
    if (operation === 'delete-many') await this.#deleteMany(target, request, response)
    else if (operation === 'delete') await this.#delete(target, request, response)
    else await this.#options.versions.inTurn(target.bucket, target.key, async () => { await this.#create(operation, target, request, response, fault) })
  }

  async #create (operation: 'put' | 'copy' | 'complete', { bucket, key }: Target, request: IncomingMessage, response: ServerResponse, fault: PassOptions['fault']): Promise<void> {
    const { behind, versions, notifications, dropSynthetic } = this.#options
    const isVersioned = versions.isOn(bucket)
    if (isVersioned) await versions.keep(bucket, key)
    const headers: Record<string, string> = {}
    const [, fromBucket = '', fromKey = '', fromVersion] = /^\/?([^/]+)\/([^?]*)\?versionId=(.+)$/.exec(String(request.headers['x-amz-copy-source'])) ?? []
    if (fromVersion !== undefined) {
      const from = versions.find(fromBucket, decodeURIComponent(fromKey), fromVersion)
      if (from === undefined || from === 'marker') return refuse(request, response, 404, 'NoSuchVersion', 'The specified version does not exist.')
      headers['x-amz-copy-source'] = from.path
    }
    await behind.pass(request, response, {
      fault,
      headers,
      answered: async (status, answer) => {
        const noHeaders: Record<string, string> = {}
        if (status !== 200) return noHeaders
        dropSynthetic(bucket, key)
        const versionId = isVersioned ? versions.add(bucket, key, false) : undefined
        const version = versionId === undefined ? {} : { versionId }
        if (notifications.isWatched(bucket)) {
          // A copy and a completed upload do not say how large they are.
          const length = request.headers['x-amz-decoded-content-length'] ?? request.headers['content-length']
          const seen = operation === 'put' && length !== undefined ? { ...answer, 'content-length': String(length) } : (await behind.ask('HEAD', objectPath(bucket, key))).headers
          notifications.changed({ name: createdBy[operation], bucket, key, sizeBytes: Number(seen['content-length']), etag: String(seen.etag).replaceAll('"', ''), ...version })
        }
        return versionId === undefined ? noHeaders : { 'x-amz-version-id': versionId }
      }
    })
  }

  async #delete ({ bucket, key, query }: Target, request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    const done = await this.#remove(bucket, key, query.get('versionId') ?? undefined)
    if ('refusal' in done) response.writeHead(done.refusal.status, { 'Content-Type': 'application/xml' }).end(done.refusal.body)
    else {
      response.writeHead(204, {
        ...(done.versionId === undefined ? {} : { 'x-amz-version-id': done.versionId }),
        ...(done.isMarker === true ? { 'x-amz-delete-marker': 'true' } : {})
      }).end()
    }
  }

  async #deleteMany ({ bucket }: Target, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { quiet, objects } = readDeletes(Buffer.concat(chunks).toString())
    const lines: string[] = []
    for (const { key, versionId } of objects) {
      const done = await this.#remove(bucket, key, versionId)
      if ('refusal' in done) {
        response.writeHead(done.refusal.status, { 'Content-Type': 'application/xml' }).end(done.refusal.body)
        return
      }
      const asked = versionId === undefined ? '' : `<VersionId>${xmlEscape(versionId)}</VersionId>`
      const marker = done.isMarker === true ? `<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>${done.versionId ?? ''}</DeleteMarkerVersionId>` : ''
      if (!quiet) lines.push(`<Deleted><Key>${xmlEscape(key)}</Key>${asked}${marker}</Deleted>`)
    }
    response.writeHead(200, { 'Content-Type': 'application/xml' }).end(`<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${lines.join('')}</DeleteResult>`)
  }

  /** One key or version. S3 says yes to what was never there, and tells nobody. */
  async #remove (bucket: string, key: string, versionId: string | undefined): Promise<Removal | { refusal: BehindAnswer }> {
    const { behind, versions, notifications, dropSynthetic } = this.#options
    let result: Removal | { refusal: BehindAnswer } = {}
    await versions.inTurn(bucket, key, async () => {
      const path = objectPath(bucket, key)
      if (versionId !== undefined && versions.isOn(bucket)) {
        const removed = await versions.remove(bucket, key, versionId)
        result = removed ?? { versionId }
        if (removed !== undefined) notifications.changed({ name: 'ObjectRemoved:Delete', bucket, key, versionId })
        return
      }
      if (versions.isOn(bucket)) await versions.keep(bucket, key)
      const isThere = (await behind.ask('HEAD', path)).status === 200
      const answer = await behind.ask('DELETE', path)
      if (answer.status !== 204) {
        result = { refusal: answer }
        return
      }
      const wasMade = dropSynthetic(bucket, key)
      if (versions.isOn(bucket)) {
        const marker = versions.add(bucket, key, true)
        result = { versionId: marker, isMarker: true }
        notifications.changed({ name: 'ObjectRemoved:DeleteMarkerCreated', bucket, key, versionId: marker })
      } else if (isThere || wasMade) notifications.changed({ name: 'ObjectRemoved:Delete', bucket, key })
    })
    return result
  }
}
