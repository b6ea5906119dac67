import { createHash } from 'node:crypto'

/** An object that is never held, only made while it is read. */
export interface Synthetic {
  sizeBytes: number
  seed: number
  /** What the ETag is: the MD5, or what a multipart upload or KMS encryption leaves there. */
  etag: 'md5' | 'multipart' | 'kms'
  lastModified: Date
}

const blockBytes = 1024 * 1024
const stampBytes = 64 * 1024

/** One block of bytes that looks random and depends on the seed alone. */
function makeBlock (seed: number): Buffer {
  const block = Buffer.alloc(blockBytes)
  let state = (seed * 2_654_435_761 + 1) >>> 0
  for (let at = 0; at < blockBytes; at += 4) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    block.writeUInt32LE(state >>> 0, at)
  }
  return block
}

/** The blocks that were made last, so that many small objects of one seed cost no more than their bytes. */
const blocks = new Map<number, Buffer>()
const blocksKept = 16

function blockOf (seed: number): Buffer {
  const block = blocks.get(seed) ?? makeBlock(seed)
  if (!blocks.has(seed) && blocks.size >= blocksKept) blocks.delete(blocks.keys().next().value as number)
  blocks.set(seed, block)
  return block
}

/** The bytes from `start` up to, not including, `end`: the same for the same seed, whatever the pieces. */
export function * syntheticBytes (seed: number, start: number, end: number): Generator<Buffer> {
  const block = blockOf(seed)
  const stamp = Buffer.alloc(4)
  for (let index = Math.floor(start / blockBytes); index * blockBytes < end; index++) {
    const from = Math.max(0, start - index * blockBytes)
    const to = Math.min(blockBytes, end - index * blockBytes)
    const piece = Buffer.from(block.subarray(from, to))
    // The number of the block stands in it many times, so that no two blocks are equal.
    stamp.writeUInt32LE(index >>> 0)
    for (let at = Math.floor(from / stampBytes) * stampBytes; at < to; at += stampBytes) {
      if (at >= from) stamp.copy(piece, at - from)
      else if (at + stamp.length > from) stamp.copy(piece, 0, from - at)
    }
    yield piece
  }
}

/** MD5 and SHA-256 of a whole synthetic object, lower-case hex. */
export function syntheticHashes (seed: number, sizeBytes: number): { md5: string, sha256: string } {
  const md5 = createHash('md5')
  const sha256 = createHash('sha256')
  for (const piece of syntheticBytes(seed, 0, sizeBytes)) {
    md5.update(piece)
    sha256.update(piece)
  }
  return { md5: md5.digest('hex'), sha256: sha256.digest('hex') }
}

/** The ETag that S3 would show, without quotes. */
export function syntheticEtag ({ seed, sizeBytes, etag }: Synthetic): string {
  if (etag === 'md5') return syntheticHashes(seed, sizeBytes).md5
  const made = createHash('md5').update(`${seed} ${sizeBytes} ${etag}`).digest('hex')
  return etag === 'kms' ? made : `${made}-${Math.max(1, Math.ceil(sizeBytes / (8 * 1024 * 1024)))}`
}
