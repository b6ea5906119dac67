import { AppError, type AppErrorOptions } from '../errors.ts'

/** The checks of a message in their order; none runs before those above it have passed. */
export type SnsStage = 'shape' | 'topic' | 'timestamp' | 'cert-url' | 'certificate' | 'signature' | 'subscribe-url'

/**
 * Why a message is refused, by a stable word for counters and tests, with the stage that refuses it. `retryable`: the
 * fault is not the message's, so that SNS must be told to come again.
 */
export const snsReasons = {
  raw_delivery: { stage: 'shape' },
  not_utf8: { stage: 'shape' },
  not_json: { stage: 'shape' },
  not_an_object: { stage: 'shape' },
  forbidden_member: { stage: 'shape' },
  missing_member: { stage: 'shape' },
  unknown_type: { stage: 'shape' },
  unknown_signature_version: { stage: 'shape' },
  control_character: { stage: 'shape' },
  lone_surrogate: { stage: 'shape' },
  bad_message_id: { stage: 'shape' },
  bad_token: { stage: 'shape' },
  header_mismatch: { stage: 'shape' },
  topic_not_allowed: { stage: 'topic' },
  bad_timestamp: { stage: 'timestamp' },
  stale: { stage: 'timestamp' },
  in_the_future: { stage: 'timestamp' },
  bad_certificate_url: { stage: 'cert-url' },
  too_many_certificates: { stage: 'certificate', retryable: true },
  certificate_unreachable: { stage: 'certificate', retryable: true },
  not_a_certificate: { stage: 'certificate', retryable: true },
  certificate_of_another: { stage: 'certificate' },
  certificate_expired: { stage: 'certificate' },
  certificate_not_yet_valid: { stage: 'certificate' },
  certificate_key_too_weak: { stage: 'certificate' },
  signature_version_refused: { stage: 'signature' },
  signature_not_base64: { stage: 'signature' },
  signature_of_wrong_length: { stage: 'signature' },
  signature_mismatch: { stage: 'signature' },
  digest_unavailable: { stage: 'signature', retryable: true },
  bad_subscribe_url: { stage: 'subscribe-url' }
} as const satisfies Record<string, { stage: SnsStage, retryable?: true }>

/** The stable word for why a message is refused. */
export type SnsReason = keyof typeof snsReasons

/**
 * A message that is not acted upon. `retryable` (503) says that the same message may pass later; everything else is final
 * (400, 403), for SNS keeps no message that was answered 4xx. Its words hold no token and nothing of the text.
 */
export class SnsRefusal extends AppError {
  readonly stage: SnsStage
  readonly reason: SnsReason

  constructor (reason: SnsReason, detail: string, options: AppErrorOptions = {}) {
    const { stage, retryable = false }: { stage: SnsStage, retryable?: boolean } = snsReasons[reason]
    super(retryable ? 'sns_unverifiable' : stage === 'shape' ? 'sns_malformed' : 'sns_refused', detail, options)
    this.stage = stage
    this.reason = reason
  }
}

/** Text from a stranger, fit for a log line: escaped and short. */
export function quote (text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}...` : text)
}
