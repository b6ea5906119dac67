/** What one purge request names: URLs, ARLs and tags as strings, CP codes as numbers. */
export type PurgeObject = string | number

const frameBytes = Buffer.byteLength('{"objects":[]}')

/** The body of a purge request; every byte of it counts and is signed. */
export function serializeObjects (objects: readonly PurgeObject[]): string {
  return JSON.stringify({ objects })
}

/**
 * Packs objects, in their order, into as few requests as fit. Fast Purge refuses bodies over 50,000 bytes with a 413, and
 * sources differ on whether that size itself passes, hence `maxBytes` 49,999: measured as the UTF-8 bytes of the whole
 * body. `maxObjects` bounds a request by number, since one larger than the token bucket of its type can never pass.
 * `tooLong` holds what no request can carry.
 */
export function splitObjects (objects: readonly PurgeObject[], maxBytes = 49_999, maxObjects = Infinity): { batches: PurgeObject[][], tooLong: PurgeObject[] } {
  const batches: PurgeObject[][] = []
  const tooLong: PurgeObject[] = []
  let batch: PurgeObject[] = []
  let sizeBytes = frameBytes
  for (const object of objects) {
    const ownBytes = Buffer.byteLength(JSON.stringify(object))
    if (frameBytes + ownBytes > maxBytes) {
      tooLong.push(object)
      continue
    }
    if (batch.length > 0 && (sizeBytes + 1 + ownBytes > maxBytes || batch.length >= maxObjects)) {
      batches.push(batch)
      batch = []
      sizeBytes = frameBytes
    }
    sizeBytes += ownBytes + (batch.length > 0 ? 1 : 0)
    batch.push(object)
  }
  if (batch.length > 0) batches.push(batch)
  return { batches, tooLong }
}
