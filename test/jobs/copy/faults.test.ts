import t from 'tap'
import type { FaultRule } from '../../../sandbox/kit/faults.ts'
import { AppError } from '../../../src/errors.ts'
import { bucket, startWorkbench, type Made } from './workbench.ts'

const { s3, netstorage, copy, put, lies, stored, asked, read, at } = await startWorkbench(t, { stallTimeoutMs: 2500 })
const sizeBytes = 600_000
const midway = 200_000

interface Case {
  where: 's3' | 'upload' | 'stat'
  fault: FaultRule
  /** `right` = the attempt itself ends well; else the code of its failure. */
  ends: string
  /** What lies there after a failure: the old object unless the server itself stored something. */
  leaves?: 'new' | 'other'
}

const once = { times: 1 }
const cases: Record<string, Case> = {
  'a read that is reset midway': { where: 's3', fault: { ...once, reset: 'mid-body', afterBytes: midway }, ends: 'right' },
  'a read that falls silent midway': { where: 's3', fault: { ...once, hang: 'mid-body', afterBytes: midway }, ends: 'right' },
  'a read that breaks three times': { where: 's3', fault: { times: 3, reset: 'mid-body', afterBytes: 100_000 }, ends: 'right' },
  'a slow read': { where: 's3', fault: { ...once, slow: { bytesPerSecond: 1_000_000 } }, ends: 'right' },
  'a read that is reset before its answer': { where: 's3', fault: { ...once, reset: 'before' }, ends: 's3_unavailable' },
  'a read that is never answered': { where: 's3', fault: { ...once, hang: 'before' }, ends: 's3_silent' },
  'S3 that asks to slow down': { where: 's3', fault: { ...once, status: 503 }, ends: 's3_unavailable' },
  'S3 that fails': { where: 's3', fault: { ...once, status: 500 }, ends: 's3_unavailable' },
  'a slow target': { where: 'upload', fault: { ...once, slow: { bytesPerSecond: 1_000_000 } }, ends: 'right' },
  'a target that resets before it reads': { where: 'upload', fault: { ...once, reset: 'before' }, ends: 'netstorage_unavailable' },
  'a target that resets midway': { where: 'upload', fault: { ...once, reset: 'mid-body', afterBytes: midway }, ends: 'netstorage_unavailable' },
  'a target that never answers': { where: 'upload', fault: { ...once, hang: 'before' }, ends: 'netstorage_silent' },
  'a target that stops reading midway': { where: 'upload', fault: { ...once, hang: 'mid-body', afterBytes: midway }, ends: 'netstorage_silent' },
  'a target that stores and does not say so': { where: 'upload', fault: { ...once, hang: 'after-commit' }, ends: 'netstorage_silent', leaves: 'new' },
  'a target that answers 500': { where: 'upload', fault: { ...once, status: 500 }, ends: 'netstorage_unavailable' },
  'a target that answers 503 early': { where: 'upload', fault: { ...once, status: 503 }, ends: 'netstorage_unavailable' },
  'a target that answers 429': { where: 'upload', fault: { ...once, status: 429 }, ends: 'netstorage_unavailable' },
  'a target that acknowledges what it did not read': { where: 'upload', fault: { ...once, kind: 'lose-upload' }, ends: 'verification_failed' },
  'a target that stores other bytes': { where: 'upload', fault: { ...once, kind: 'corrupt-store' }, ends: 'verification_failed', leaves: 'other' },
  'a target that stores half': { where: 'upload', fault: { ...once, kind: 'truncate-store' }, ends: 'verification_failed', leaves: 'other' },
  'a stat that lags': { where: 'stat', fault: { ...once, kind: 'stale-stat' }, ends: 'right' },
  'a stat that finds nothing yet': { where: 'stat', fault: { ...once, kind: 'missing-stat' }, ends: 'right' },
  'a stat that is refused for a moment': { where: 'stat', fault: { ...once, status: 503 }, ends: 'right' },
  'a stat that is reset': { where: 'stat', fault: { ...once, reset: 'before' }, ends: 'right' },
  'a stat that is never answered': { where: 'stat', fault: { ...once, hang: 'before' }, ends: 'right' },
  'a stat that is cut off': { where: 'stat', fault: { ...once, reset: 'mid-body', afterBytes: 30 }, ends: 'right' },
  'a stat that stays old': { where: 'stat', fault: { kind: 'stale-stat' }, ends: 'verification_failed', leaves: 'new' },
  'a stat that never finds it': { where: 'stat', fault: { kind: 'missing-stat' }, ends: 'verification_failed', leaves: 'new' },
  'a stat that is refused for good': { where: 'stat', fault: { status: 500 }, ends: 'netstorage_unavailable', leaves: 'new' }
}

/** Breaks one copy over an older object, then lets it be: first a clear failure or the right bytes, at last the right bytes. */
async function suffer (key: string, etag: Made['etag'], { where, fault, ends, leaves }: Case): Promise<string[]> {
  const [old, fresh]: [Made, Made] = [{ seed: 1, sizeBytes, etag }, { seed: 2, sizeBytes, etag }]
  put(key, old)
  await copy(key)
  put(key, fresh)
  const heal = where === 's3' ? s3.faults.add({ ...fault, match: { path: `/${bucket}/${key}` } }) : netstorage.faults.add({ ...fault, match: { action: where, path: at(key) } })
  const outcome = await copy(key).then(() => 'right', (error: unknown) => error instanceof AppError && error.retryable ? error.code : String(error))
  heal()
  const lie = lies(key, old, fresh)
  const wanted = ends === 'right' || leaves === 'new' ? 2 : leaves === 'other' ? undefined : 1
  const wrong = []
  if (outcome !== ends) wrong.push(`${key} ended with ${outcome}, not ${ends}`)
  if (lie !== wanted) wrong.push(`${key} left ${lie}, not ${wanted}`)
  const { outcome: last } = await copy(key, { work: { interrupted: outcome !== 'right' } })
  if (lies(key, old, fresh) !== 2) wrong.push(`${key} did not mend: ${last}`)
  return wrong
}

for (const etag of ['md5', 'multipart'] as const) {
  t.test(`each fault ends in the right bytes, or in a clear failure with the old object intact (${etag === 'md5' ? 'MD5 up front' : 'hashed on the way'})`, async t => {
    // What is asked afterwards does not depend on how the digest was told.
    const left = Object.entries(cases).filter(([, { where }]) => etag === 'md5' || where !== 'stat')
    const wrong: string[] = []
    // A few at a time: most only wait, but all servers live in this process.
    await Promise.all(Array.from({ length: 6 }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) wrong.push(...await suffer(`${etag}: ${next[0]}`, etag, next[1]))
    }))
    t.same(wrong, [])
    const reset = `${etag}: a read that is reset midway`
    t.equal(asked(reset, 'upload').length, 2, 'the read goes on, the upload is not begun again')
    t.match(read(reset).map(({ range, status }) => ({ range, status })), [{ status: 200 }, { status: 200 }, { range: /^bytes=\d+-$/, status: 206 }])
  })
}

t.test('an object that is replaced while it is read begins anew, and is never mixed', async t => {
  const [old, first, second]: [Made, Made, Made] = [{ seed: 1, sizeBytes, etag: 'multipart' }, { seed: 2, sizeBytes, etag: 'multipart' }, { seed: 3, sizeBytes, etag: 'multipart' }]
  put('replaced', old)
  await copy('replaced')
  put('replaced', first)
  s3.faults.add({ times: 1, reset: 'mid-body', afterBytes: midway, match: { path: `/${bucket}/replaced` } })
  await t.rejects(copy('replaced', { async takeSlot () { put('replaced', second) } }), { code: 'object_changed', retryable: true })
  t.equal(lies('replaced', old, first, second), 1)
  t.match(await copy('replaced'), { outcome: 'uploaded' })
  t.equal(lies('replaced', old, first, second), 3)
})

t.test('whoever lost the right to write commits nothing, however late', async t => {
  for (const etag of ['md5', 'multipart'] as const) {
    put(`lost-${etag}`, { seed: 1, sizeBytes, etag })
    await t.rejects(copy(`lost-${etag}`, { lease: { signal: new AbortController().signal, check () { throw new Error('taken over') } } }), { message: 'taken over' })
    t.equal(stored(`lost-${etag}`), undefined)
  }
})
