import type { ByteName } from './names.ts'

/** What the store holds under one name. */
export interface StoredObject {
  /** `dir` is an explicit directory: its name ends in a slash */
  type: 'file' | 'dir' | 'symlink'
  sizeBytes: number
  /** lower-case hex; empty unless a file */
  md5: string
  sha256: string
  /** whole seconds since 1970, and the microseconds that only the ETag shows */
  mtime: number
  micros: number
  /** of a symlink, as bytes */
  target?: string
  /** undefined when the body was not kept */
  body?: Buffer
}

/**
 * The store model of NetStorage: a flat map of names in byte order. A directory exists because of an entry whose name
 * ends in a slash (explicit) or because other names begin with it (implicit).
 */
export class ObjectStore {
  #objects = new Map<ByteName, StoredObject>()
  #names: ByteName[] = []
  #before = new Map<ByteName, StoredObject | undefined>()

  get (name: ByteName): StoredObject | undefined {
    return this.#objects.get(name)
  }

  /** Puts an object in place of whatever was there, in one step. */
  set (name: ByteName, object: StoredObject): void {
    this.#remember(name)
    if (!this.#objects.has(name)) this.#names.splice(this.#indexOf(name), 0, name)
    this.#objects.set(name, object)
  }

  /** Whether there was something to delete. */
  delete (name: ByteName): boolean {
    if (!this.#objects.has(name)) return false
    this.#remember(name)
    this.#names.splice(this.#indexOf(name), 1)
    return this.#objects.delete(name)
  }

  /** What a replica that missed the last change of a name still shows; its body is not kept. */
  before (name: ByteName): StoredObject | undefined {
    return this.#before.get(name)
  }

  /** Every entry from a name on, that name included, in byte order. */
  * from (name: ByteName): Generator<[ByteName, StoredObject]> {
    for (let index = this.#indexOf(name); index < this.#names.length; index++) {
      const found = this.#names[index] as ByteName
      yield [found, this.#objects.get(found) as StoredObject]
    }
  }

  /** Every entry whose name begins with a prefix, in byte order. */
  * below (prefix: ByteName): Generator<[ByteName, StoredObject]> {
    for (const entry of this.from(prefix)) {
      if (!entry[0].startsWith(prefix)) return
      yield entry
    }
  }

  /** Whether a prefix that ends in a slash is a directory, explicit or implicit. */
  hasDirectory (prefix: ByteName): boolean {
    return this.#names[this.#indexOf(prefix)]?.startsWith(prefix) ?? false
  }

  /** Where a name stands, or would stand. */
  #indexOf (name: ByteName): number {
    let [low, high] = [0, this.#names.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#names[middle] as ByteName) < name) low = middle + 1
      else high = middle
    }
    return low
  }

  #remember (name: ByteName): void {
    const before = this.#objects.get(name)
    this.#before.set(name, before && { ...before, body: undefined })
  }
}
