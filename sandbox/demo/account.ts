const startedAt = performance.now()
const megabyte = 1024 * 1024

/** A job as far as the account tells of it. */
export interface Job {
  id: string
  state: string
  outcome?: string
  sentBytes?: number
  sizeBytes?: number
  md5?: string
  error?: { detail: string }
  purge?: { objects: string[], acceptedAt?: string, requests: Array<{ purgeId: string }> }
  timeline: Array<{ at: string, step: string, detail: string }>
}

/** One line of the account, with the seconds since its beginning. */
export function say (text: string): void {
  process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(2).padStart(7)} s  ${text}\n`)
}

export const sizeOf = (bytes: number): string => bytes < megabyte ? `${bytes} bytes` : `${(bytes / megabyte).toFixed(0)} MB`

async function getJson<T> (url: string): Promise<T> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
  return await answer.json() as T
}

const pause = async () => { await new Promise(resolve => { setTimeout(resolve, 50) }) }

/** The newest job of a key, as soon as it is another one than `last`: the notification has arrived. */
export async function findJob (origin: string, bucket: string, key: string, last: string | undefined): Promise<string> {
  for (;;) {
    const { items } = await getJson<{ items: Array<{ id: string }> }>(`${origin}/jobs?limit=1&bucket=${bucket}&key=${encodeURIComponent(key)}`)
    if (items[0] !== undefined && items[0].id !== last) return items[0].id
    await pause()
  }
}

/** Tells each step of a job as it happens, and the progress of a large one, until it ends. */
export async function follow (origin: string, id: string): Promise<Job> {
  let told = 0
  let sent = 0
  for (;;) {
    const job = await getJson<Job>(`${origin}/jobs/${id}`)
    for (const { step, detail } of job.timeline.slice(told)) say(`   ${step.padEnd(14)} ${step === 'uploaded' ? `${sizeOf(job.sizeBytes ?? 0)}, MD5 ${job.md5}, seen by stat` : detail}`)
    told = job.timeline.length
    if (job.state === 'uploading' && job.sentBytes !== undefined && job.sentBytes > sent) {
      sent = job.sentBytes
      say(`   ${'progress'.padEnd(14)} ${sizeOf(sent)}${job.sizeBytes === undefined ? '' : ` of ${sizeOf(job.sizeBytes)}`}`)
    }
    if (['succeeded', 'failed', 'held', 'cancelled'].includes(job.state)) return job
    await pause()
  }
}
