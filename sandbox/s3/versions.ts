import { randomBytes } from 'node:crypto'
import type { Behind } from './pass.ts'

interface Version {
  id: string
  isMarker: boolean
  /** Where its body is kept once it is no longer the newest. */
  stored?: string
}

/** What a removal did; nothing = there was nothing to remove. */
export interface Removal { versionId?: string, isMarker?: boolean }

const attic = 'sandbox-versions'

/** A path that the server behind understands. */
export const objectPath = (bucket: string, key: string): string => `/${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`

/**
 * Versioning, which the server behind does not have: it holds the newest version of a key under its own name, and an
 * earlier one, by a copy made just before it is overtaken, in a bucket of ours.
 */
export class Versions {
  readonly #behind: Behind
  readonly #buckets = new Map<string, Map<string, Version[]>>()
  readonly #turns = new Map<string, Promise<void>>()

  constructor (behind: Behind) {
    this.#behind = behind
  }

  /** Turns it on; what the bucket holds already becomes version `null` when it is overtaken. */
  async enable (bucket: string): Promise<void> {
    if (this.#buckets.size === 0) await this.#behind.ask('PUT', `/${attic}`)
    if (!this.isOn(bucket)) this.#buckets.set(bucket, new Map())
  }

  isOn (bucket: string): boolean {
    return this.#buckets.has(bucket)
  }

  /** One writer of a key after the other. */
  async inTurn (bucket: string, key: string, act: () => Promise<void>): Promise<void> {
    if (!this.isOn(bucket)) return await act()
    const name = `${bucket}/${key}`
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(act)
    this.#turns.set(name, turn.catch(() => {}))
    await turn
  }

  /** The newest version, if the key was written or deleted since versioning began. */
  newest (bucket: string, key: string): Version | undefined {
    return this.#buckets.get(bucket)?.get(key)?.[0]
  }

  /** Where a version can be read; undefined if there is none, or a delete marker. */
  find (bucket: string, key: string, id: string): { path: string } | 'marker' | undefined {
    const list = this.#list(bucket, key)
    const found = list.find(each => each.id === id)
    if (found?.isMarker === true) return 'marker'
    if (found === list[0] && (found !== undefined || id === 'null')) return { path: objectPath(bucket, key) }
    return found?.stored === undefined ? undefined : { path: found.stored }
  }

  /** Keeps the newest body, for something is about to overtake it. */
  async keep (bucket: string, key: string): Promise<void> {
    const list = this.#list(bucket, key)
    const path = objectPath(bucket, key)
    if (list.length === 0 && (await this.#behind.ask('HEAD', path)).status === 200) list.push({ id: 'null', isMarker: false })
    const [newest] = list
    if (newest === undefined || newest.isMarker) return
    newest.stored = `/${attic}/${randomBytes(16).toString('hex')}`
    await this.#copy(path, newest.stored)
  }

  /** Counts what was just written, or a delete marker, as the newest version; returns its id. */
  add (bucket: string, key: string, isMarker: boolean): string {
    const id = randomBytes(24).toString('base64url')
    this.#list(bucket, key).unshift({ id, isMarker })
    return id
  }

  /** Removes one version for good. Was it the newest, the one before it shows again. */
  async remove (bucket: string, key: string, id: string): Promise<Removal | undefined> {
    if (id === 'null') await this.keep(bucket, key)
    const list = this.#list(bucket, key)
    const index = list.findIndex(each => each.id === id)
    const [removed] = index < 0 ? [] : list.splice(index, 1)
    if (removed === undefined) return undefined
    const next = list[0]
    if (index === 0) {
      if (next?.stored !== undefined) await this.#copy(next.stored, objectPath(bucket, key))
      else await this.#behind.ask('DELETE', objectPath(bucket, key))
    }
    return { versionId: id, isMarker: removed.isMarker }
  }

  async #copy (from: string, to: string): Promise<void> {
    const { status } = await this.#behind.ask('PUT', to, { 'x-amz-copy-source': from })
    if (status !== 200) throw new Error(`keeping a version of ${to} failed: ${status}`)
  }

  #list (bucket: string, key: string): Version[] {
    const keys = this.#buckets.get(bucket)
    const list = keys?.get(key) ?? []
    keys?.set(key, list)
    return list
  }
}
