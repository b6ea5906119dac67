/** The parts of a topic ARN that decide where its messages come from. */
export interface Topic {
  arn: string
  partition: Partition
  region: string
}

interface PartitionFacts {
  /** The DNS suffix of its endpoints. */
  suffix: string
  /** The names one of which a signing certificate of the region bears. */
  names: (region: string) => string[]
}

const longStanding = new Set([
  'us-east-1', 'us-east-2', 'us-west-1', 'us-west-2', 'ca-central-1', 'sa-east-1', 'eu-west-1', 'eu-west-2', 'eu-west-3',
  'eu-central-1', 'eu-north-1', 'ap-south-1', 'ap-southeast-1', 'ap-southeast-2', 'ap-northeast-1', 'ap-northeast-2', 'ap-northeast-3'
])

const optIn = new Set([
  'ap-east-1', 'ap-east-2', 'ap-south-2', 'ap-southeast-3', 'ap-southeast-4', 'ap-southeast-5', 'ap-southeast-6', 'ap-southeast-7',
  'me-south-1', 'me-central-1', 'eu-south-1', 'eu-south-2', 'eu-central-2', 'af-south-1', 'il-central-1', 'ca-west-1', 'mx-central-1'
])

/** A region that neither list knows is newer than them: it may bear either name, and nothing else. */
function commercialNames (region: string): string[] {
  return [...(optIn.has(region) ? [] : ['sns.amazonaws.com']), ...(longStanding.has(region) ? [] : [`sns-signing.${region}.amazonaws.com`])]
}

/** The names are those that AWS's own verifier for Java expects; they are not the host of the URL. */
const partitions = {
  aws: { suffix: 'amazonaws.com', names: commercialNames },
  'aws-cn': { suffix: 'amazonaws.com.cn', names: (region) => [`sns-${region}.amazonaws.com.cn`] },
  'aws-us-gov': { suffix: 'amazonaws.com', names: () => ['sns-us-gov-west-1.amazonaws.com'] },
  'aws-iso': { suffix: 'c2s.ic.gov', names: () => ['sns-us-iso-east-1.c2s.ic.gov'] },
  'aws-iso-b': { suffix: 'sc2s.sgov.gov', names: () => ['sns-us-isob-east-1.sc2s.sgov.gov'] },
  'aws-iso-e': { suffix: 'cloud.adc-e.uk', names: () => ['sns-signing.eu-isoe-west-1.cloud.adc-e.uk'] },
  'aws-iso-f': { suffix: 'csp.hci.ic.gov', names: (region) => [`sns-signing.${region}.csp.hci.ic.gov`] },
  'aws-eusc': { suffix: 'amazonaws.eu', names: () => ['sns-signing.eusc-de-east-1.amazonaws.eu'] }
} as const satisfies Record<string, PartitionFacts>

export type Partition = keyof typeof partitions

/** The topic an ARN names; `undefined` if it is no ARN of an SNS topic in a partition we know. Nothing is trimmed or folded. */
export function parseTopicArn (arn: string): Topic | undefined {
  const [, partition = '', region = ''] = /^arn:([a-z-]+):sns:([a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}):[0-9]{12}:[A-Za-z0-9_-]{1,256}$/.exec(arn) ?? []
  return Object.hasOwn(partitions, partition) ? { arn, partition: partition as Partition, region } : undefined
}

/** Where the topic's region answers, without a trailing slash: certificates and confirmations come from there only. */
export function endpointOf ({ partition, region }: Topic): string {
  return `https://sns.${region}.${partitions[partition].suffix}`
}

/** The names one of which the certificate of the topic's messages must bear. */
export function certificateNamesOf ({ partition, region }: Topic): string[] {
  return partitions[partition].names(region)
}
