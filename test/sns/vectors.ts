import type { IncomingHttpHeaders } from 'node:http'
import { createCertificates, type CertificatesOptions } from '../../src/sns/certificates/cache.ts'
import { parseMessage, type SnsMessage } from '../../src/sns/message.ts'
import { SnsRefusal } from '../../src/sns/refusal.ts'
import { createVerifier, type VerifiedMessage } from '../../src/sns/verify.ts'
import file from '../fixtures/sns-signed.json' with { type: 'json' }

/** One signed request and what must become of it. */
export interface Vector {
  id: string
  verdict: string
  then?: string
  rejectAt?: string
  headers: IncomingHttpHeaders
  body: string
}

/** What the certificate server of the vectors answers; what it does not know is unreachable. */
interface Served { status: number, certificate?: keyof typeof file.certificates, body?: string }

export const policy = file.policy
/** PEM texts by what is odd about them. */
export const certificates = Object.fromEntries(Object.entries(file.certificates).map(([name, { pem }]) => [name, pem])) as Record<keyof typeof file.certificates, string>
export const vectors = file.vectors as Vector[]
export const atPolicyTime = () => new Date(policy.clock)

/** The vector of that name. */
export function vector (id: string): Vector {
  const found = vectors.find((each) => each.id === id)
  if (found === undefined) throw new Error(`There is no vector ${id}.`)
  return found
}

/** The certificate server of the vectors, which counts what it is asked for. */
export function createCertificateServer () {
  const asked: string[] = []
  const served = file.certServer as Record<string, Served>
  return {
    asked,
    async fetchCertificate (url: string): Promise<string> {
      asked.push(url)
      const { status, certificate, body = '' } = served[url] ?? { status: 0 }
      if (status !== 200) throw new Error(`The certificate URL answered ${status}.`)
      return certificate === undefined ? body : certificates[certificate]
    }
  }
}

/** A verifier under the policy of the vectors, with the certificate server it asks. */
export function createVectorVerifier (options: { acceptSignatureV1?: boolean, now?: () => Date } & Partial<CertificatesOptions> = {}) {
  const { now = atPolicyTime } = options
  const server = createCertificateServer()
  const verifier = createVerifier({
    topicArns: policy.allowedTopicArns,
    certificates: createCertificates({ fetchCertificate: server.fetchCertificate, ...options, now }),
    now,
    acceptSignatureV1: options.acceptSignatureV1 ?? true
  })
  return {
    asked: server.asked,
    receive: async ({ body, headers }: { body: string | Uint8Array, headers?: IncomingHttpHeaders }): Promise<VerifiedMessage> => await verifier.verify(parseMessage(body, headers)),
    verify: async (message: SnsMessage): Promise<VerifiedMessage> => await verifier.verify(message)
  }
}

/** The refusal something ends with; anything else that comes of it is thrown. */
export async function refusalOf (work: () => unknown): Promise<SnsRefusal> {
  const outcome: unknown = await (async () => await work())().then((value) => value, (error: unknown) => error)
  if (outcome instanceof SnsRefusal) return outcome
  throw outcome instanceof Error ? outcome : new Error(`not refused: ${JSON.stringify(outcome)}`)
}
