/** Who sends events: AWS, MinIO or Ceph's RGW, as a record's `eventSource` says it. */
export const eventSources = ['aws:s3', 'minio:s3', 'ceph:s3'] as const
export type EventSource = typeof eventSources[number]

/** What an event says happened to the object's content. */
export type EventAction = 'upload' | 'delete' | 'ignore'

/** What the name of an event means. */
export interface Meaning {
  action: EventAction
  /** Whether the name is one we were told of. */
  known: boolean
  /** Somebody should look. */
  warn?: true
  /** The event alone is no proof: `always`, or where it names a version. */
  head?: 'always' | 'version'
  /** An archived object can be read now. */
  restoreCompleted?: true
}

const upload: Meaning = { action: 'upload', known: true }
const hide: Meaning = { action: 'delete', known: true }
/** With a version, one version went for good: another may show now. */
const remove: Meaning = { action: 'delete', known: true, head: 'version' }
/** Sent for versions that were not the current one, too. */
const expire: Meaning = { action: 'delete', known: true, head: 'always' }
const ignore: Meaning = { action: 'ignore', known: true }
const restored: Meaning = { action: 'ignore', known: true, restoreCompleted: true }
const lost: Meaning = { action: 'ignore', known: true, warn: true }
/** Nobody told us of it. */
export const unknownMeaning: Meaning = { action: 'ignore', known: false, warn: true }

const ignored = (...names: string[]): Array<[string, Meaning]> => names.map((name) => [name, ignore])

const common: Array<[string, Meaning]> = [
  ['ObjectCreated:Put', upload],
  ['ObjectCreated:Post', upload],
  ['ObjectCreated:Copy', upload],
  ['ObjectCreated:CompleteMultipartUpload', upload],
  ['ObjectRemoved:Delete', remove],
  ['ObjectRemoved:DeleteMarkerCreated', hide],
  ['LifecycleExpiration:Delete', expire],
  ['LifecycleExpiration:DeleteMarkerCreated', hide],
  ['ObjectRestore:Completed', restored],
  ...ignored('ObjectRestore:Post', 'ObjectRestore:Delete', 'LifecycleTransition', 'ObjectTagging:Put', 'ObjectTagging:Delete', 'ObjectAcl:Put')
]

const replications = ['Replication:OperationFailedReplication', 'Replication:OperationMissedThreshold', 'Replication:OperationReplicatedAfterThreshold', 'Replication:OperationNotTracked']

/** Whole names, never a family: MinIO files a change of tags under ObjectCreated. */
const names: Record<EventSource, ReadonlyMap<string, Meaning>> = {
  'aws:s3': new Map([
    ...common,
    ['ReducedRedundancyLostObject', lost],
    ...ignored('IntelligentTiering', 'ObjectAnnotation:Put', 'ObjectAnnotation:Delete', 'ObjectRetention:Put',
      ...replications)
  ]),
  'minio:s3': new Map([
    ...common,
    ['ObjectRemoved:DeleteAllVersions', expire],
    ...ignored('ObjectCreated:PutTagging', 'ObjectCreated:DeleteTagging', 'ObjectCreated:PutRetention', 'ObjectCreated:PutLegalHold', 'ObjectRemoved:NoOP',
      'ObjectAccessed:Get', 'ObjectAccessed:Head', 'ObjectAccessed:GetRetention', 'ObjectAccessed:GetLegalHold', 'ObjectAccessed:Attributes',
      'ObjectTransition:Failed', 'ObjectTransition:Complete', 'LifecycleDelMarkerExpiration:Delete', 'Scanner:ManyVersions', 'Scanner:BigPrefix',
      'Replication:OperationCompletedReplication', ...replications)
  ]),
  'ceph:s3': new Map([
    ...common,
    // RGW's documents and its code spell some of these differently.
    ['ObjectLifecycle:Expiration:Current', expire],
    ['ObjectLifecycle:Expiration:NonCurrent', expire],
    ['ObjectLifecycle:Expiration:Noncurrent', expire],
    ['ObjectLifecycle:Expiration:DeleteMarker', expire],
    // What another zone did to the object, seen here.
    ['ObjectSynced:Create', upload],
    ['ObjectSynced:Delete', expire],
    ['ObjectSynced:DeletionMarkerCreated', hide],
    ['Replication:Create', upload],
    ['Replication:Delete', expire],
    ['Replication:DeletionMarkerCreated', hide],
    ...ignored('ObjectLifecycle:Expiration:AbortMultipartUpload', 'ObjectLifecycle:Expiration:AbortMPU', 'ObjectLifecycle:Transition:Current',
      'ObjectLifecycle:Transition:NonCurrent', 'ObjectLifecycle:Transition:Noncurrent')
  ])
}

const detailTypes: ReadonlyMap<string, Meaning> = new Map([
  ['Object Created', upload],
  ['Object Deleted', remove],
  ['Object Restore Completed', restored],
  ...ignored('Object Restore Initiated', 'Object Restore Expired', 'Object Storage Class Changed', 'Object Access Tier Changed',
    'Object ACL Updated', 'Object Tags Added', 'Object Tags Deleted', 'Object Annotation Created', 'Object Annotation Removed')
])

/** What a record's `eventName` means, with or without its `s3:`. An unknown name is ignored, with a warning. */
export function meaningOf (source: EventSource, eventName: string): Meaning {
  return names[source].get(eventName.replace(/^s3:/, '')) ?? unknownMeaning
}

/** What an EventBridge event means. */
export function meaningOfDetail (detailType: string, deletionType: unknown): Meaning {
  return detailType === 'Object Deleted' && deletionType === 'Delete Marker Created' ? hide : detailTypes.get(detailType) ?? unknownMeaning
}

/** Whether an event of that meaning is a mere hint to look. */
export function needsHead ({ action, head }: Meaning, versioned: boolean, ordered: boolean): boolean {
  return action !== 'ignore' && (head === 'always' || (head === 'version' && versioned) || !ordered)
}
