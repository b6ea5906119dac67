import { randomUUID } from 'node:crypto'

/** What the query API can do; each throws an ApiError to refuse. */
export interface Actions {
  confirm: (topicArn: string, token: string) => string
  subscribe: (topicArn: string, endpoint: string, options: { raw: boolean }) => { arn: string, state: string }
  unsubscribe: (subscriptionArn: string) => void
  publish: (topicArn: string, message: string, options: { subject?: string }) => string
}

/** A refusal in AWS's words. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: string
  readonly status: number
  constructor (code: string, status: number, message: string) {
    super(message)
    this.code = code
    this.status = status
  }
}

/** The refusal of a member that is missing or wrong. */
export const invalid = (message: string): ApiError => new ApiError('InvalidParameter', 400, `Invalid parameter: ${message}`)

const namespace = 'http://sns.amazonaws.com/doc/2010-03-31/'
const escapeXml = (text: string): string => text.replace(/[&<>"]/g, found => `&#${found.charCodeAt(0)};`)

/**
 * The part of SNS's query API that needs no SDK: what the URLs in messages ask for, and enough to steer the emulator
 * with `curl`. Unlike AWS it looks at no credentials.
 */
export function answerQuery (query: URLSearchParams, actions: Actions): { status: number, xml: string } {
  const need = (name: string): string => {
    const value = query.get(name)
    if (value === null || value === '') throw invalid(`${name} is missing`)
    return value
  }
  const done = (action: string, members: Record<string, string>) => {
    const inner = Object.entries(members).map(([name, value]) => `    <${name}>${escapeXml(value)}</${name}>\n`).join('')
    const result = inner === '' ? '' : `  <${action}Result>\n${inner}  </${action}Result>\n`
    return { status: 200, xml: `<${action}Response xmlns="${namespace}">\n${result}  <ResponseMetadata>\n    <RequestId>${randomUUID()}</RequestId>\n  </ResponseMetadata>\n</${action}Response>\n` }
  }
  const act = () => {
    const action = query.get('Action')
    switch (action) {
      case 'ConfirmSubscription': return done(action, { SubscriptionArn: actions.confirm(need('TopicArn'), need('Token')) })
      case 'Subscribe': {
        const raw = [...query].some(([name, value]) => value === 'RawMessageDelivery' && query.get(name.replace(/key$/, 'value')) === 'true')
        const { arn, state } = actions.subscribe(need('TopicArn'), need('Endpoint'), { raw })
        return done(action, { SubscriptionArn: state === 'confirmed' || query.get('ReturnSubscriptionArn') === 'true' ? arn : 'pending confirmation' })
      }
      case 'Unsubscribe':
        actions.unsubscribe(need('SubscriptionArn'))
        return done(action, {})
      case 'Publish': {
        const subject = query.get('Subject')
        return done(action, { MessageId: actions.publish(need('TopicArn'), need('Message'), subject === null ? {} : { subject }) })
      }
      default: throw new ApiError('InvalidAction', 400, `The action ${action ?? ''} is not valid for this endpoint.`)
    }
  }
  try {
    return act()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return { status: error.status, xml: `<ErrorResponse xmlns="${namespace}">\n  <Error>\n    <Type>Sender</Type>\n    <Code>${error.code}</Code>\n    <Message>${escapeXml(error.message)}</Message>\n  </Error>\n  <RequestId>${randomUUID()}</RequestId>\n</ErrorResponse>\n` }
  }
}
