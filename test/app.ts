import { loadConfig, type Config } from '../src/config.ts'
import { checkAnswers } from './openapi-check.ts'

checkAnswers()

/** A configuration that points nowhere but is complete; `changes` are variables. */
export function testConfig (changes: Record<string, string> = {}): Config {
  return loadConfig({
    S3_BUCKETS: 'example-assets',
    AWS_REGION: 'us-east-1',
    NS_HOSTNAME: 'http://127.0.0.1:1',
    NS_KEYNAME: 'upload',
    NS_KEY: 'a-key-for-tests',
    NS_CP: '123456',
    AO_API_HOST: 'http://127.0.0.1:1',
    AO_CLIENT_TOKEN: 'client-token',
    AO_CLIENT_SECRET: 'client-secret',
    AO_ACCESS_TOKEN: 'access-token',
    PURGE_URLS: 'https://www.example.com/{key}',
    PURGE_DELAY_SECONDS: '0',
    NS_WRITES_PER_SECOND: '1000000',
    NS_MIN_REWRITE_SECONDS: '0',
    NS_READS_PER_SECOND: '1000000',
    LOG_LEVEL: 'silent',
    ...changes
  })
}
