import t, { type Test } from 'tap'
import { bucket, startSandbox } from '../sandbox/sandbox.ts'
import type { Job } from '../src/schemas.ts'
import { makeDataDir } from './data-dir.ts'
import { startProcess, until } from './process.ts'

t.setTimeout(300_000)
const sandbox = await startSandbox()
const { s3, netstorage, fastPurge } = sandbox
const otherBucket = 'other-assets'
await s3.createBucket(otherBucket)
const env = {
  ...sandbox.env,
  DATA_DIR: await makeDataDir(t),
  S3_BUCKETS: `${bucket},${otherBucket}`,
  PURGE_HOSTS: 'www.example.com,elsewhere.example',
  API_TOKENS: 'ops:a-long-secret-for-ops-1',
  SNS_BASIC_AUTH: 'sns:a-long-secret-for-sns-2',
  PURGE_DELAY_SECONDS: '0',
  PURGE_REPEAT_SECONDS: '0',
  LOG_LEVEL: 'debug'
}
const service = startProcess(env, { covered: true })
const origin = await service.origin
/** All that callers got to see, heads and bodies. */
let heard = ''

async function call (path: string, { body, bearer = 'a-long-secret-for-ops-1' }: { body?: object | string, bearer?: string } = {}) {
  const answer = await fetch(`${origin}${path}`, {
    headers: { authorization: `Bearer ${bearer}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
  })
  const text = await answer.text()
  heard += `${JSON.stringify([...answer.headers])}\n${text}\n`
  return { status: answer.status, text, json: () => JSON.parse(text) as Job & { code?: string, detail?: string } }
}

function isTold (line: string, words: string): boolean {
  const { level, msg } = JSON.parse(line) as { level: number, msg: string }
  return level >= 40 && msg.includes(words)
}

/** Starts a job and waits until it tells of this problem; the log must tell the same, in the same words. */
async function fails (t: Test, name: string, path: string, body: object, code: string, advice: RegExp): Promise<void> {
  const { id } = (await call(path, { body })).json()
  let problem: Job['error']
  await until(async () => (problem = (await call(`/jobs/${id}`)).json().error) !== undefined, `${name}: the job tells of a problem`)
  t.match(problem, { code, detail: advice }, name)
  // A job is stored before the log is written.
  await until(() => service.output().split('\n').slice(0, -1).some(line => line.startsWith('{') && isTold(line, problem?.detail ?? '')), `${name}: the log says so, too`)
}
const put = async (key: string, to = bucket): Promise<{ bucket: string, key: string }> => {
  await s3.put(to, key, key)
  return { bucket: to, key }
}

await t.test('what a caller did wrong is told to the caller', async t => {
  const cases: Array<[string, Parameters<typeof call>[1], number, RegExp]> = [
    ['/sync', { body: { bucket, key: 'x' }, bearer: 'a-wrong-secret-3' }, 401, /API token/],
    ['/sync', { body: { bucket: 'denied', key: 'x' } }, 403, /denied is not in S3_BUCKETS/],
    ['/sync', { body: { bucket, key: 'x', colour: 'red' } }, 400, /colour is not a known member/],
    ['/sync', { body: '{"bucket":' }, 400, /not valid JSON/],
    ['/purge', { body: { urls: ['https://strange.example/'] } }, 403, /strange\.example is not in PURGE_HOSTS/],
    ['/nowhere', {}, 404, /\/docs/]
  ]
  for (const [path, options, status, detail] of cases) {
    const answer = await call(path, options)
    t.match({ status: answer.status, ...answer.json() }, { status, detail }, String(detail))
  }
})

await t.test('what goes wrong with a job is told by the job and by the log, with what to do', async t => {
  await fails(t, 'no such object', '/sync', { bucket, key: 'none' }, 'object_not_found', /There is no such object/)
  s3.faults.add({ status: 503, match: { method: 'GET' }, times: 1 })
  await fails(t, 'S3 is busy', '/sync', await put('busy'), 's3_unavailable', /503/)
  s3.faults.add({ reset: 'before', match: { method: 'GET' }, times: 1 })
  await fails(t, 'S3 breaks off', '/sync', await put('s3-breaks'), 's3_unavailable', /could not be reached/)
  netstorage.faults.add({ reset: 'before', match: { action: 'upload' }, times: 1 })
  await fails(t, 'NetStorage breaks off', '/sync', await put('netstorage-breaks'), 'netstorage_unavailable', /broke during upload.*tried again/)
  fastPurge.faults.add({ status: 500, times: 1 })
  await fails(t, 'Fast Purge stumbles', '/purge', { urls: ['https://www.example.com/a'] }, 'purge_unavailable', /500.*tried again/)
  await fails(t, 'a host of somebody else', '/purge', { urls: ['https://elsewhere.example/a'] }, 'purge_refused', /403.*elsewhere\.example/)
})

await t.test('refused credentials pause, and name what to check', async t => {
  const account = netstorage.accounts[0] as { key: string }
  const client = fastPurge.clients[0] as { clientSecret: string }
  const { key } = account
  const { clientSecret } = client
  s3.access.refused = true
  await fails(t, 'S3 credentials', '/sync', { bucket, key: 'x' }, 's3_forbidden', /Check the AWS credentials/)
  s3.access.refused = false
  account.key = 'changed'
  await fails(t, 'NetStorage credentials', '/sync', await put('y', otherBucket), 'netstorage_forbidden', /check that key name sandbox-upload exists and its key is right/)
  account.key = key
  client.clientSecret = 'changed'
  await fails(t, 'EdgeGrid credentials', '/purge', { urls: ['https://www.example.com/b'] }, 'purge_forbidden', /Check the client token, client secret and access token/)
  client.clientSecret = clientSecret
  await until(async () => !/"name":"(s3|netstorage|edgegrid):/.test((await call('/readyz?verbose')).text), 'all go on')
})

await t.test('a side that cannot be reached is named', async t => {
  await fastPurge.close()
  await fails(t, 'no Fast Purge', '/purge', { urls: ['https://www.example.com/c'] }, 'purge_unavailable', /ECONNREFUSED.*Check the host name/)
  await netstorage.close()
  await fails(t, 'no NetStorage', '/sync', await put('z'), 'netstorage_unavailable', /ECONNREFUSED.*Check the host name/)
  await s3.close()
  await fails(t, 'no S3', '/sync', { bucket, key: 'unreachable' }, 's3_unavailable', /could not be reached.*check the network/)
})

await t.test('and no secret was told to anybody', async t => {
  for (const path of ['/jobs?limit=200', '/readyz?verbose', '/metrics', '/openapi.yaml', `/objects?bucket=${bucket}&key=busy`]) t.equal((await call(path)).status, 200, path)
  service.kill('SIGTERM')
  t.equal(await service.exited, 0)
  await sandbox.sns.close()
  const secrets = {
    NS_KEY: env.NS_KEY,
    AO_CLIENT_TOKEN: env.AO_CLIENT_TOKEN,
    AO_CLIENT_SECRET: env.AO_CLIENT_SECRET,
    AO_ACCESS_TOKEN: env.AO_ACCESS_TOKEN,
    AWS_ACCESS_KEY_ID: env.AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: env.AWS_SECRET_ACCESS_KEY,
    API_TOKENS: 'a-long-secret-for-ops-1',
    SNS_BASIC_AUTH: 'a-long-secret-for-sns-2',
    'a wrong bearer': 'a-wrong-secret-3',
    'a signature of EdgeGrid': 'EG1-HMAC',
    'a signature of AWS': 'AWS4-HMAC',
    'a signature of NetStorage': 'x-akamai-acs-auth'
  }
  t.ok(service.output().length > 5000 && heard.length > 20_000, 'there was something to search')
  for (const [name, secret] of Object.entries(secrets)) {
    for (const form of [secret, Buffer.from(secret).toString('base64').replace(/.{2}=*$/, ''), encodeURIComponent(secret)]) {
      t.notOk(service.output().toLowerCase().includes(form.toLowerCase()), `${name} is not in the log`)
      t.notOk(heard.toLowerCase().includes(form.toLowerCase()), `${name} is in no answer`)
    }
  }
})
