import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import t from 'tap'
import { parse } from 'yaml'

interface Header { required?: boolean, schema: object }
interface Response { headers?: Record<string, { $ref: string }>, content?: Record<string, { schema: object }> }
/** What `openapi.yaml` says, as far as answers are held to it. */
export interface Document {
  paths: Record<string, Record<string, { operationId: string, summary?: string, security?: object[], parameters?: Array<{ name: string, in: string, required?: boolean, schema: object }>, requestBody?: { content: Record<string, { schema: object }> }, responses: Record<string, Response> }>>
  components: { schemas: Record<string, object>, headers: Record<string, Header> }
}

const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }))
let document: Document | undefined

/** The document as it was written when first asked for. */
export function readDocument (): Document {
  if (document === undefined) {
    document = parse(readFileSync(new URL('../openapi.yaml', import.meta.url), 'utf8')) as Document
    ajv.addSchema(document, 'openapi')
  }
  return document
}

const compiled = new Map<string, ValidateFunction>()

/** A validator of whatever lies at a path within the document. */
export function validatorAt (...path: string[]): ValidateFunction {
  readDocument()
  const pointer = path.map(each => each.replaceAll('~', '~0').replaceAll('/', '~1')).map(encodeURIComponent).join('/')
  const found = compiled.get(pointer) ?? ajv.compile({ $ref: `openapi#/${pointer}` })
  compiled.set(pointer, found)
  return found
}

/** What is wrong with an answer; undefined if `openapi.yaml` knows it. */
export function findFault (path: string, method: string, answer: { status: number, headers: Record<string, unknown>, body: string }): string | undefined {
  const response = readDocument().paths[path]?.[method]?.responses[String(answer.status)]
  const where = `${method.toUpperCase()} ${path}: ${answer.status}`
  if (response === undefined) return `${where} is not documented: ${answer.body}`
  for (const name of Object.keys(response.headers ?? {})) {
    const { required, schema } = readDocument().components.headers[name] as Header
    const value = answer.headers[name]
    if (value === undefined && required === true) return `${where} lacks the header ${name}`
    if (value !== undefined && !ajv.validate(schema, (schema as { type?: string }).type === 'integer' ? Number(value) : value)) return `${where} has a bad ${name}: ${String(value)}`
  }
  if (response.content === undefined) return answer.body === '' ? undefined : `${where} has a body that is not documented: ${answer.body}`
  const type = String(answer.headers['content-type']).split(';')[0] ?? ''
  if (response.content[type] === undefined) return `${where} is ${type}, which is not documented`
  const validate = validatorAt('paths', path, method, 'responses', String(answer.status), 'content', type, 'schema')
  const value: unknown = type.endsWith('json') ? JSON.parse(answer.body) : answer.body
  return validate(value) ? undefined : `${where} does not meet its schema: ${ajv.errorsText(validate.errors)} in ${answer.body}`
}

async function check (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  // A path written out comes before one with parameters, as OpenAPI has it.
  const literal = request.url.split('?')[0] as string
  const path = literal in readDocument().paths ? literal : request.routeOptions.url?.replace(/:(\w+)/g, '{$1}')
  const method = request.method.toLowerCase()
  const isText = typeof payload === 'string' || payload === null || payload === undefined
  if (path !== undefined && isText && readDocument().paths[path]?.[method] !== undefined) {
    const fault = findFault(path, method, { status: reply.statusCode, headers: reply.getHeaders(), body: payload ?? '' })
    if (fault !== undefined) t.fail(fault)
  }
  return payload
}

/** Holds every answer of every app of ours in this process to the document: a mismatch fails the test file. */
export function checkAnswers (): void {
  subscribe('fastify.initialization', message => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onSend', async (request, reply, payload) => fastify.hasDecorator('jobs') ? await check(request, reply, payload) : payload)
  })
}
