import Type, { type Static } from 'typebox'

const text = (description: string, options: object = {}) => Type.Optional(Type.String({ description, ...options }))
const count = (description: string, value: number, maximum = 1_000_000, minimum = 0) =>
  Type.Integer({ description, default: value, minimum, maximum })
const seconds = (description: string, value: number, minimum = 0) =>
  Type.Number({ description, default: value, minimum, maximum: 86_400 })
const choice = <const T extends string[]>(description: string, values: T, value: T[number]) =>
  Type.Unsafe<T[number]>(Type.String({ description, default: value, enum: values }))

/** Every variable of the environment, with its meaning: the README's table is held equal to this. */
export const EnvironmentSchema = Type.Object({
  PORT: count('port to listen on', 8080, 65_535),
  HOST: Type.String({ description: 'address to listen on', default: '127.0.0.1' }),
  PUBLIC_URL: text('how callers reach the service; makes links absolute', { pattern: '^https?://' }),
  API_TOKENS: text('comma list of `name:secret`, bearer tokens with every scope; the file may hold narrower ones, see docs/api.md; `none` = open to all; empty = loopback only'),
  DATABASE_URL: text('PostgreSQL; empty = embedded database in `DATA_DIR`', { pattern: '^postgres(ql)?://' }),
  DATA_DIR: Type.String({ description: 'folder of the embedded database', default: './data' }),
  EDGEFERRY_IMAGE: text('`1` in the container image: `DATA_DIR` must then be a mount point'),
  DATA_EPHEMERAL: text('`1` = in the image, accept that the embedded database dies with the container'),
  ROLE: choice('`all`, `web` (accepts, runs no jobs) or `worker` (runs jobs, serves health and metrics)', ['all', 'web', 'worker'], 'all'),
  AWS_REGION: text('region of the buckets; credentials come by the AWS SDK\'s own chain'),
  AWS_ENDPOINT_URL_S3: text('another S3 server (path style then)', { pattern: '^https?://' }),
  S3_BUCKETS: text('comma list of buckets that calls may name (required)'),
  NS_HOSTNAME: text('NetStorage host, `example-nsu.akamaihd.net` (required)'),
  NS_KEYNAME: text('NetStorage upload account (required)'),
  NS_KEY: text('its HTTP API key (required)'),
  NS_CP: text('default **storage** CP code, the upload directory (required)', { pattern: '^[1-9][0-9]*$' }),
  NS_CP_CODES: text('comma list of further storage CP codes that requests may name', { pattern: '^[0-9, ]*$' }),
  VERIFY_TIMEOUT_SECONDS: seconds('how long `stat` may lag before an upload counts as unverified', 120, 1),
  UPLOAD_CONCURRENCY: count('objects copied at once per process', 8, 256, 1),
  STALL_TIMEOUT_SECONDS: seconds('silence that ends an attempt', 30, 1),
  RETRY_HOURS: Type.Number({ description: 'how long a job is retried', default: 72, minimum: 0, maximum: 8760 }),
  DELETE_LIMIT_PER_MINUTE: count('more deletes than this, caused by events, are held for an operator', 100),
  AO_API_HOST: text('EdgeGrid host (also `AKAMAI_HOST`)'),
  AO_CLIENT_TOKEN: text('EdgeGrid client token (also `AKAMAI_CLIENT_TOKEN`)'),
  AO_CLIENT_SECRET: text('EdgeGrid client secret (also `AKAMAI_CLIENT_SECRET`)'),
  AO_ACCESS_TOKEN: text('EdgeGrid access token (also `AKAMAI_ACCESS_TOKEN`)'),
  AKAMAI_HOST: text('see `AO_API_HOST`'),
  AKAMAI_CLIENT_TOKEN: text('see `AO_CLIENT_TOKEN`'),
  AKAMAI_CLIENT_SECRET: text('see `AO_CLIENT_SECRET`'),
  AKAMAI_ACCESS_TOKEN: text('see `AO_ACCESS_TOKEN`'),
  AKAMAI_EDGERC: text('path of an `.edgerc` file, instead of the four above'),
  AKAMAI_EDGERC_SECTION: Type.String({ description: 'its section', default: 'default' }),
  AKAMAI_ACCOUNT_KEY: text('account switch key'),
  PURGE_BY: Type.Optional(Type.Unsafe<'url' | 'cpcode' | 'none'>(Type.String({ description: '`url`, `cpcode` or `none` (`url` if `PURGE_URLS` is set)', enum: ['url', 'cpcode', 'none'] }))),
  PURGE_URLS: text('comma list of URL templates, `https://www.example.com/{key}`'),
  PURGE_CP_CODES: text('comma list of **delivery** CP codes for `PURGE_BY=cpcode` (`NS_CP`)', { pattern: '^[0-9, ]*$' }),
  PURGE_NETWORK: choice('`production` or `staging`', ['production', 'staging'], 'production'),
  PURGE_ACTION: choice('`invalidate` or `delete`', ['invalidate', 'delete'], 'invalidate'),
  PURGE_DELAY_SECONDS: seconds('wait between verified upload and purge, for replication', 5),
  PURGE_REPEAT_SECONDS: seconds('a second purge that long after the first; 0 = none', 30),
  PURGE_HOSTS: text('comma list of host names that `/purge {urls}` may name (those of the templates)'),
  LOG_LEVEL: choice('`fatal`, `error`, `warn`, `info`, `debug` or `silent`', ['fatal', 'error', 'warn', 'info', 'debug', 'silent'], 'info'),
  SHUTDOWN_TIMEOUT_SECONDS: seconds('how long running copies may finish after SIGTERM', 25),
  JOB_RETENTION_DAYS: count('how long finished jobs are kept', 30, 3650, 1),
  NODE_ENV: text('`production` refuses emulators')
})

/** The environment after its defaults. */
export type Environment = Static<typeof EnvironmentSchema>

/** Variables whose value may come from the file named by `X_FILE`. */
export const secrets = ['API_TOKENS', 'DATABASE_URL', 'NS_KEY', 'AO_CLIENT_TOKEN', 'AO_CLIENT_SECRET', 'AO_ACCESS_TOKEN',
  'AKAMAI_CLIENT_TOKEN', 'AKAMAI_CLIENT_SECRET', 'AKAMAI_ACCESS_TOKEN'] as const
