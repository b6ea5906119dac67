/** Why a key cannot become a job. */
export type KeyFault = 'key_missing' | 'key_not_decodable' | 'key_empty' | 'key_too_long' | 'control_character' | 'dot_segment'

/** How an envelope writes keys: as a form field, or as they are. */
export type KeyEncoding = 'form' | 'literal'

const maxBytes = 1024
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/

/** A key written as a form field, decoded once; `undefined` where its escapes are broken or no UTF-8. */
export function decodeKey (wire: string): string | undefined {
  try {
    return decodeURIComponent(wire.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/**
 * The key of an event, and what keeps it from a job. Nothing is normalised, and slashes at odd places are left alone: S3
 * takes them for letters, and the rules decide. A key that could not be decoded is absent.
 */
export function readKey (wire: unknown, encoding: KeyEncoding): { key?: string, fault?: KeyFault } {
  if (typeof wire !== 'string') return { fault: 'key_missing' }
  const key = encoding === 'form' ? decodeKey(wire) : wire
  if (key === undefined || !key.isWellFormed()) return { fault: 'key_not_decodable' }
  if (key === '') return { fault: 'key_empty' }
  const fault = findFault(key)
  return fault === undefined ? { key } : { key, fault }
}

function findFault (key: string): KeyFault | undefined {
  if (Buffer.byteLength(key, 'utf8') > maxBytes) return 'key_too_long'
  if (control.test(key)) return 'control_character'
  return key.split('/').some((segment) => segment === '.' || segment === '..') ? 'dot_segment' : undefined
}
