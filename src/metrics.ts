import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** What `/metrics` shows: base units, and no label that ever holds a key, a path or a URL. */
export function createMetrics () {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  return {
    registry,
    jobs: new Counter({ name: 'edgeferry_jobs_total', help: 'Jobs that ended', labelNames: ['kind', 'outcome'], registers }),
    requests: new Counter({ name: 'edgeferry_api_requests_total', help: 'Requests that need a token, by its name', labelNames: ['operation', 'status', 'token'], registers }),
    events: new Counter({ name: 'edgeferry_events_total', help: 'Events received, by sender and by what became of them', labelNames: ['source', 'verdict'], registers }),
    streams: new Gauge({ name: 'edgeferry_open_streams', help: 'Streams of events that are read now', registers }),
    queueDepth: new Gauge({ name: 'edgeferry_queue_depth', help: 'Jobs or purges that wait', labelNames: ['queue'], registers }),
    oldestWaiting: new Gauge({ name: 'edgeferry_oldest_waiting_seconds', help: 'Age of the oldest that waits', labelNames: ['queue'], registers }),
    uploadBytes: new Counter({ name: 'edgeferry_upload_bytes_total', help: 'Bytes of verified uploads', registers }),
    stage: new Histogram({ name: 'edgeferry_stage_duration_seconds', help: 'Time a stage took', labelNames: ['stage'], buckets: [0.05, 0.2, 1, 5, 20, 60, 300, 1800], registers }),
    upstream: new Counter({ name: 'edgeferry_upstream_requests_total', help: 'Requests to S3, NetStorage and Fast Purge', labelNames: ['upstream', 'action', 'status'], registers }),
    rate: new Gauge({ name: 'edgeferry_netstorage_rate', help: 'Requests a second that a storage group is sent now, over all replicas, as last learned', labelNames: ['host', 'kind'], registers }),
    rateCeiling: new Gauge({ name: 'edgeferry_netstorage_rate_ceiling', help: 'The ceiling of that rate', labelNames: ['host', 'kind'], registers }),
    turnWait: new Histogram({ name: 'edgeferry_netstorage_turn_wait_seconds', help: 'How long requests waited for their turn', labelNames: ['kind'], buckets: [0.01, 0.05, 0.2, 1, 5, 20, 60], registers }),
    paused: new Gauge({ name: 'edgeferry_target_paused', help: '1 while a target is paused because its credentials are refused', labelNames: ['target'], registers }),
    reloadRefused: new Gauge({ name: 'edgeferry_reload_refused', help: '1 while what was last read anew, rules or tokens, is refused and the older is in force', registers }),
    purgeTokens: new Gauge({ name: 'edgeferry_purge_tokens', help: 'Tokens of the Fast Purge account that are left to us; of several accounts, the least', labelNames: ['type'], registers }),
    purgeWait: new Histogram({ name: 'edgeferry_purge_wait_seconds', help: 'From when a purge was due to its acceptance', labelNames: ['type'], buckets: [1, 2, 5, 10, 30, 60, 300, 1800], registers }),
    eventToPurge: new Histogram({ name: 'edgeferry_event_to_purge_seconds', help: 'From a stored request to its last accepted purge', buckets: [1, 2, 5, 10, 30, 60, 300, 1800], registers })
  }
}

/** The metrics of one app. */
export type Metrics = ReturnType<typeof createMetrics>
