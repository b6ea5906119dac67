import t from 'tap'
import { certificateNamesOf, endpointOf, parseTopicArn } from '../../src/sns/topic.ts'

const topic = (partition: string, region: string) => parseTopicArn(`arn:${partition}:sns:${region}:111122223333:media-sync`)

t.test('each partition has its endpoint and its certificate names', async (t) => {
  const table: Array<[string, string, string, string[]]> = [
    ['aws', 'us-east-1', 'https://sns.us-east-1.amazonaws.com', ['sns.amazonaws.com']],
    ['aws', 'ap-northeast-3', 'https://sns.ap-northeast-3.amazonaws.com', ['sns.amazonaws.com']],
    ['aws', 'af-south-1', 'https://sns.af-south-1.amazonaws.com', ['sns-signing.af-south-1.amazonaws.com']],
    ['aws', 'xy-south-9', 'https://sns.xy-south-9.amazonaws.com', ['sns.amazonaws.com', 'sns-signing.xy-south-9.amazonaws.com']],
    ['aws-cn', 'cn-northwest-1', 'https://sns.cn-northwest-1.amazonaws.com.cn', ['sns-cn-northwest-1.amazonaws.com.cn']],
    ['aws-us-gov', 'us-gov-east-1', 'https://sns.us-gov-east-1.amazonaws.com', ['sns-us-gov-west-1.amazonaws.com']],
    ['aws-iso', 'us-iso-west-1', 'https://sns.us-iso-west-1.c2s.ic.gov', ['sns-us-iso-east-1.c2s.ic.gov']],
    ['aws-iso-b', 'us-isob-east-1', 'https://sns.us-isob-east-1.sc2s.sgov.gov', ['sns-us-isob-east-1.sc2s.sgov.gov']],
    ['aws-iso-e', 'eu-isoe-west-1', 'https://sns.eu-isoe-west-1.cloud.adc-e.uk', ['sns-signing.eu-isoe-west-1.cloud.adc-e.uk']],
    ['aws-iso-f', 'us-isof-south-1', 'https://sns.us-isof-south-1.csp.hci.ic.gov', ['sns-signing.us-isof-south-1.csp.hci.ic.gov']],
    ['aws-eusc', 'eusc-de-east-1', 'https://sns.eusc-de-east-1.amazonaws.eu', ['sns-signing.eusc-de-east-1.amazonaws.eu']]
  ]
  for (const [partition, region, endpoint, names] of table) {
    const found = topic(partition, region)
    if (found === undefined) throw new Error(`${partition} is not known`)
    t.equal(endpointOf(found), endpoint)
    t.same(certificateNamesOf(found), names, region)
  }
})

t.test('what is no topic of a known partition, letter for letter, is none', async (t) => {
  const good = 'arn:aws:sns:us-east-1:111122223333:media-sync'
  t.same(parseTopicArn(good), { arn: good, partition: 'aws', region: 'us-east-1' })
  for (const bad of [
    '', `${good} `, ` ${good}`, `${good}\n`, good.toUpperCase(), `${good}:0b9a2f7e-2c4d-4f7e-8a1b-1c2d3e4f5a6b`, `${good}.fifo`,
    'arn:aws:sns:us-east-1.evil.example:111122223333:a', 'arn:aws:sns:s3-us-west-2/:111122223333:a', 'arn:aws:sns:us-east-1:1111:a',
    'arn:constructor:sns:us-east-1:111122223333:a', 'arn:aws-moon:sns:us-east-1:111122223333:a', 'arn:aws:sns::111122223333:a'
  ]) t.equal(parseTopicArn(bad), undefined, JSON.stringify(bad))
})
