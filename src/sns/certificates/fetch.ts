import { readText } from '../read-text.ts'

export interface FetchCertificateOptions {
  /** Until the whole file is here, connecting included (5000). */
  timeoutMs?: number
}

const maxBytes = 16 * 1024

/**
 * Gets a certificate file over verified TLS: 200 only, no redirect, at most 16 KiB. The URL must have been checked before.
 * Throws plain errors, for they all mean the same: try again later.
 */
export async function fetchCertificate (url: string, signal?: AbortSignal, { timeoutMs = 5000 }: FetchCertificateOptions = {}): Promise<string> {
  const deadline = AbortSignal.timeout(timeoutMs)
  const response = await fetch(url, { redirect: 'error', signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]) })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`The certificate URL answered ${response.status}.`)
  }
  return await readText(response, maxBytes)
}
