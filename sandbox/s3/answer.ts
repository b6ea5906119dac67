import type { IncomingMessage, ServerResponse } from 'node:http'

/** Text as XML can hold it. */
export const xmlEscape = (text: string): string => text.replace(/[&<>"'\r]/g, found => `&#${found.charCodeAt(0)};`)

/** An error in S3's words. */
export const errorXml = (code: string, message: string): string => `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>sandbox</RequestId></Error>`

/** Refuses a request whatever its body. */
export function refuse (request: IncomingMessage, response: ServerResponse, status: number, code: string, message: string, headers: Record<string, string> = {}): void {
  request.resume()
  response.writeHead(status, { 'Content-Type': 'application/xml', ...headers }).end(request.method === 'HEAD' ? '' : errorXml(code, message))
}
