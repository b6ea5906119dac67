import fc from 'fast-check'
import type { AddressInfo } from 'node:net'
import { request } from 'node:http'
import t from 'tap'
import { startSandbox } from '../../sandbox/sandbox.ts'
import { buildApp } from '../../src/app.ts'
import { testConfig } from '../app.ts'
import { makeDataDir } from '../data-dir.ts'
import { findFault, readDocument, validatorAt } from '../openapi-check.ts'
import { allowed, member, spoilt, type Making, type Schema } from './arbitrary.ts'

/**
 * Requests made from `openapi.yaml`, good and spoilt, over sockets: no answer is a 5xx, every answer is documented, and
 * what the document forbids is refused. FUZZ_RUNS is how many per operation (40), FUZZ_SEED which.
 */
const numRuns = Number(process.env['FUZZ_RUNS'] ?? 40)
const seed = Number(process.env['FUZZ_SEED'] ?? 1)

Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'sandbox-access-key', AWS_SECRET_ACCESS_KEY: 'sandbox-secret-key' })
const dir = await makeDataDir(t)
const sandbox = await startSandbox()
const app = await buildApp(testConfig({ ...sandbox.env, DATA_DIR: dir }), { logger: false })
await app.listen({ port: 0 })
const { port } = app.server.address() as AddressInfo
t.teardown(async () => {
  await app.close()
  await sandbox.close()
})
await sandbox.s3.put('example-assets', 'a.css', 'x')

interface Request { query: Record<string, unknown>, path: Record<string, unknown>, header: Record<string, unknown>, body: unknown }
interface Answer { status: number, headers: Record<string, unknown>, body: string }

const start = async (url: string, payload: object) => ((await app.inject({ method: 'POST', url, payload, headers: { prefer: 'wait=30' } })).json() as { id?: string, job?: { id: string } })
const jobs = await Promise.all([start('/sync', { bucket: 'example-assets', key: 'a.css' }), start('/sync', { bucket: 'example-assets', key: 'missing.css' }), start('/purge', { tags: ['t'] })])
const urls = ['https://www.example.com/a.css', 'https://www.example.com/%E6', '/L/1/2/3d/www.example.com/x']
const making: Making = {
  resolve: ref => readDocument().components.schemas[ref.split('/').at(-1) as string] as Schema,
  likely: {
    bucket: ['example-assets'],
    key: ['a.css', 'dir/b c.css', 'missing.css', 'folder/'],
    cpCode: [123456],
    path: ['a.css', 'elsewhere/a.css'],
    urls: [urls, urls.slice(0, 1)],
    tags: [['t', 'u']],
    versionId: ['null'],
    after: [Buffer.from(jobs[2]?.id ?? '').toString('base64url')],
    id: jobs.map(({ id, job }) => id ?? job?.id)
  }
}

/** Sends it as it is; a stream is read for a moment only. */
async function send (method: string, path: string, given: Request, type: string | undefined): Promise<Answer | undefined> {
  const query = Object.entries(given.query).flatMap(([name, value]) => [value].flat().map(each => `${encode(name)}=${encode(each)}`)).join('&')
  const url = path.replace(/\{(\w+)\}/g, (_, name: string) => encode(given.path[name]) || '%20')
  const body = given.body === undefined ? undefined : typeof given.body === 'string' && type === undefined ? given.body : JSON.stringify(given.body)
  const headers = Object.fromEntries(Object.entries(given.header).map(([name, value]) => [name, show(value).replace(/[^\x20-\x7e\x80-\xff]/g, '')]))
  return await new Promise((resolve, reject) => {
    const call = request({ port, method: method.toUpperCase(), path: `${url}${query === '' ? '' : `?${query}`}`, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': type ?? 'application/json', 'content-length': Buffer.byteLength(body) }) } }, answer => {
      if (answer.headers['content-type'] === 'text/event-stream') {
        call.destroy()
        return resolve(undefined)
      }
      let text = ''
      answer.setEncoding('utf8').on('data', chunk => { text += String(chunk) }).once('end', () => { resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }) })
    })
    call.once('error', reject).end(body)
  })
}

const show = (value: unknown) => typeof value === 'string' ? value : JSON.stringify(value) ?? ''
const encode = (value: unknown) => encodeURIComponent(show(value).toWellFormed())

for (const [path, methods] of Object.entries(readDocument().paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    await t.test(`${operation.operationId}: no answer is a 5xx, and every answer is documented`, async t => {
      const bodySchema = operation.requestBody?.content['application/json']?.schema as Schema | undefined
      const parameters = operation.parameters ?? []
      const seen = new Map<number, number>()
      const part = (where: string, make: typeof allowed) => {
        const mine = parameters.filter(each => each.in === where)
        const required = mine.filter(each => each.required === true).map(each => each.name)
        return fc.record(Object.fromEntries(mine.map(({ name, schema }) => [name, make === allowed ? member(name, schema as Schema, making) : make(schema as Schema, making)])), { requiredKeys: (make === allowed ? required : where === 'path' ? required : []) as never[] })
      }
      const made = (make: typeof allowed): fc.Arbitrary<Request> => fc.record({
        query: make === allowed ? part('query', allowed) : fc.oneof(part('query', allowed), part('query', spoilt), fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), { maxKeys: 2 })),
        path: part('path', make),
        // Nobody waits for what is only tried out.
        header: part('header', make).map(headers => ({ ...headers, ...('prefer' in headers ? { prefer: `${show(headers['prefer'])}, wait=0` } : {}) })),
        body: bodySchema === undefined ? fc.constant(undefined) : make(bodySchema, making)
      })
      const check = async (given: Request, type?: string): Promise<Answer | undefined> => {
        const answer = await send(method, path, given, type)
        if (answer === undefined) return undefined
        // A job that failed is answered with its own problem, and one that is not done in time with 504.
        if (answer.status >= 500 && !answer.body.includes('"job":{')) throw new Error(`answered ${answer.status}: ${answer.body}`)
        seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
        const fault = findFault(path, method, answer)
        if (fault !== undefined) throw new Error(fault)
        return answer
      }
      await fc.assert(fc.asyncProperty(made(allowed), async given => { await check(given) }), { numRuns, seed })
      await fc.assert(fc.asyncProperty(made(spoilt), fc.constantFrom(undefined, undefined, undefined, 'application/json', 'text/plain', 'application/json; charset=utf-16', 'nonsense'), async (given, type) => {
        const answer = await check(given, type)
        if (answer === undefined || bodySchema === undefined || answer.status >= 300 || operation.security === undefined || path === '/events') return
        const validate = validatorAt('paths', path, method, 'requestBody', 'content', 'application/json', 'schema')
        if (!validate(JSON.parse(JSON.stringify(given.body)))) throw new Error(`took what the document forbids: ${JSON.stringify(validate.errors)}`)
      }), { numRuns, seed })
      t.comment(`seed ${seed}: ${[...seen].map(([status, count]) => `${count} × ${status}`).join(', ')}`)
      t.ok(seen.size > 0 || path.endsWith('/stream'))
    })
  }
}
