import { createHash } from 'node:crypto'
import { bytesOf, textOf } from './names.ts'
import type { ObjectStore, StoredObject } from './store.ts'

/**
 * The store as tests and demos see it, past the front door: names are text and full, such as `/123456/a.css`;
 * explicit directories end in a slash.
 */
export interface StoreInspection {
  /** what is stored under exactly this name */
  get (name: string): StoredObject | undefined
  /** stores a file, or an explicit directory when the name ends in a slash; `mtime` in seconds, now by default */
  put (name: string, body: string | Buffer, settings?: { mtime?: number }): StoredObject
  /** whether there was something to delete */
  delete (name: string): boolean
  /** every name in byte order, below a prefix if one is given */
  names (prefix?: string): string[]
}

/** Opens a store for inspection. `now` gives the server's clock in milliseconds. */
export function inspect (store: ObjectStore, now: () => number): StoreInspection {
  return {
    get: (name) => store.get(bytesOf(name)),
    put (name, body, { mtime = Math.floor(now() / 1000) } = {}) {
      const bytes = Buffer.from(body)
      const object: StoredObject = name.endsWith('/')
        ? { type: 'dir', sizeBytes: 0, md5: '', sha256: '', mtime, micros: 0 }
        : { type: 'file', sizeBytes: bytes.length, md5: hex('md5', bytes), sha256: hex('sha256', bytes), mtime, micros: 0, body: bytes }
      store.set(bytesOf(name), object)
      return object
    },
    delete: (name) => store.delete(bytesOf(name)),
    names: (prefix = '') => Array.from(store.below(bytesOf(prefix)), ([name]) => textOf(name))
  }
}

function hex (algorithm: string, body: Buffer): string {
  return createHash(algorithm).update(body).digest('hex')
}
