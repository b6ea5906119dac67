import { createHash, createHmac, createSecretKey, type Hash, type Hmac } from 'node:crypto'

type Bytes = ArrayBufferView | ArrayBuffer | string

/**
 * SHA-256, and HMAC-SHA-256 where there is a secret, as the SDK's signatures want them. The SDK's own hands the secret to
 * Node as bytes, which takes them for two kinds of key objects in vain: two exceptions, dearer than the hash.
 */
export class Sha256 {
  readonly #begin: () => Hash | Hmac
  #hash: Hash | Hmac
  constructor (secret?: Bytes) {
    const key = secret === undefined ? undefined : typeof secret === 'string' ? secret : createSecretKey(toBytes(secret))
    this.#begin = () => key === undefined ? createHash('sha256') : createHmac('sha256', key)
    this.#hash = this.#begin()
  }

  update (data: Bytes): void {
    this.#hash.update(toBytes(data))
  }

  async digest (): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset (): void {
    this.#hash = this.#begin()
  }
}

function toBytes (data: Bytes): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, 'utf8')
  return data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
