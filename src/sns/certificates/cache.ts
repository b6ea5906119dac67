import type { KeyObject } from 'node:crypto'
import { parseCertificate, readCertificate, type SigningCertificate } from './check.ts'
import { quote, SnsRefusal } from '../refusal.ts'
import { endpointOf, type Topic } from '../topic.ts'

/** Gets the text at a URL, or throws whatever went wrong. */
export type FetchCertificate = (url: string, signal?: AbortSignal) => Promise<string>

export interface CertificatesOptions {
  fetchCertificate: FetchCertificate
  now: () => Date
  /** An emulator's origin, without a trailing slash: certificates come from there instead, and from nowhere else. */
  origin?: string
  /** Certificates kept at once (20). */
  maxCertificates?: number
  /** Distinct URLs tried within a minute that gave no good certificate (20): who knows a topic's ARN can invent many. */
  maxUnknownPerMinute?: number
  /** Ends fetches that are under way, when the service stops. */
  signal?: AbortSignal
}

export interface Certificates {
  /** The key that signs the topic's messages, by the URL a message names. Throws an SnsRefusal of `cert-url` or `certificate`. */
  findKey (url: string, topic: Topic): Promise<KeyObject>
  /** Where the topic's region answers; the emulator's origin where there is one. */
  endpointOf (topic: Topic): string
}

interface Entry {
  certificate: SigningCertificate
  /** Epoch milliseconds. */
  until: number
}

const keptMs = 24 * 60 * 60 * 1000
const minuteMs = 60 * 1000

/**
 * The signing certificates, each fetched once and kept for a day or until it expires. No failure is kept: SNS comes again
 * and must find a service that tries again.
 */
export function createCertificates (options: CertificatesOptions): Certificates {
  const { fetchCertificate, now, origin, maxCertificates = 20, maxUnknownPerMinute = 20, signal } = options
  /** Least recently used first. What is past its time stays, since its URL is proved: only a stranger's count as unknown. */
  const kept = new Map<string, Entry>()
  const underway = new Map<string, Promise<Entry>>()
  /** When each unknown URL was first tried. */
  const unknown = new Map<string, number>()
  const endpoint = (topic: Topic): string => origin ?? endpointOf(topic)

  /** On the raw text, for a URL parser drops tabs and line ends. */
  function checkUrl (url: string, topic: Topic): void {
    const start = `${endpoint(topic)}/SimpleNotificationService-`
    if (!url.startsWith(start) || !/^[0-9a-f]{32}\.pem$/.test(url.slice(start.length))) {
      throw new SnsRefusal('bad_certificate_url', `The SigningCertURL ${quote(url)} is not that of a certificate at ${endpoint(topic)}.`)
    }
  }

  function countUnknown (url: string): void {
    const time = now().getTime()
    for (const [each, since] of unknown) if (time - since >= minuteMs) unknown.delete(each)
    if (unknown.has(url)) return
    if (unknown.size >= maxUnknownPerMinute) {
      throw new SnsRefusal('too_many_certificates', `${unknown.size} certificate URLs that gave no certificate were tried within a minute; no other is tried before it is over.`)
    }
    unknown.set(url, time)
  }

  async function download (url: string): Promise<Entry> {
    try {
      const certificate = readCertificate(parseCertificate(await fetchCertificate(url, signal)))
      return { certificate, until: Math.min(certificate.validTo, now().getTime() + keptMs) }
    } catch (cause) {
      throw cause instanceof SnsRefusal ? cause : new SnsRefusal('certificate_unreachable', 'The signing certificate could not be fetched; the message is welcome again.', { cause })
    }
  }

  async function fetchOnce (url: string): Promise<Entry> {
    const running = underway.get(url)
    if (running !== undefined) return await running
    if (!kept.has(url)) countUnknown(url)
    const fetching = download(url).finally(() => { underway.delete(url) })
    underway.set(url, fetching)
    return await fetching
  }

  return {
    endpointOf: endpoint,
    async findKey (url, topic) {
      checkUrl(url, topic)
      const found = kept.get(url)
      const entry = found !== undefined && now().getTime() < found.until ? found : await fetchOnce(url)
      kept.delete(url)
      entry.certificate.check(topic, now())
      kept.set(url, entry)
      unknown.delete(url)
      for (const oldest of kept.keys()) if (kept.size > maxCertificates) kept.delete(oldest)
      return entry.certificate.key
    }
  }
}
