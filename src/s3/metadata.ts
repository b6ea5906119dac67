/** What S3 shows of an object, with the same names for GET and HEAD. */
export interface S3Answer {
  ETag?: string
  ContentLength?: number
  LastModified?: Date
  VersionId?: string
  ContentEncoding?: string
  WebsiteRedirectLocation?: string
  StorageClass?: string
  ServerSideEncryption?: string
  SSECustomerAlgorithm?: string
}

/** One object as S3 holds it at one moment. */
export interface S3ObjectInfo {
  /** Without quotes. */
  etag: string
  /** Lower-case hex, only where the ETag is sure to be the MD5 of the bytes. */
  md5?: string
  sizeBytes: number
  /** To the second. */
  lastModified: Date
  /** Only in buckets with versioning. */
  versionId?: string
  /** Only a coding that the stored bytes really have. */
  contentEncoding?: string
  /** Where a website endpoint would send the viewer. */
  redirect?: string
  storageClass: string
}

/**
 * The MD5 that an ETag is, or undefined where it is none: after multipart uploads, under KMS, DSSE or a customer's key, in
 * directory buckets, or if the rule says `never`. Unknown encryption counts as one that changes the ETag.
 */
export function etagMd5 (answer: S3Answer, bucket: string, etagIsMd5: 'auto' | 'never'): string | undefined {
  const { ServerSideEncryption: encryption = 'AES256', SSECustomerAlgorithm: customerKey } = answer
  if (etagIsMd5 === 'never' || encryption !== 'AES256' || customerKey !== undefined || bucket.endsWith('--x-s3')) return undefined
  return /^"?([0-9a-f]{32})"?$/i.exec(answer.ETag ?? '')?.[1]?.toLowerCase()
}

/**
 * The codings that viewers would have to undo; undefined for none. `identity` is none, and `aws-chunked` is what uploaders
 * leave behind of their own transfer: the stored bytes do not have it.
 */
export function readContentEncoding (header: string | undefined): string | undefined {
  const codings = (header ?? '').split(',').map((coding) => coding.trim()).filter((coding) => !['', 'identity', 'aws-chunked'].includes(coding.toLowerCase()))
  return codings.length === 0 ? undefined : codings.join(', ')
}

/** The answer in our words; undefined if it lacks what every S3 sends, so that something else must have answered. */
export function readInfo (answer: S3Answer, bucket: string, etagIsMd5: 'auto' | 'never'): S3ObjectInfo | undefined {
  const { ETag: etag, ContentLength: sizeBytes, LastModified: lastModified } = answer
  if (etag === undefined || sizeBytes === undefined || lastModified === undefined) return undefined
  const md5 = etagMd5(answer, bucket, etagIsMd5)
  const contentEncoding = readContentEncoding(answer.ContentEncoding)
  return {
    etag: etag.replace(/^"(.*)"$/, '$1'),
    sizeBytes,
    lastModified,
    // Buckets without versioning may say "null".
    ...(answer.VersionId === undefined || answer.VersionId === 'null' ? {} : { versionId: answer.VersionId }),
    ...(md5 === undefined ? {} : { md5 }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...(answer.WebsiteRedirectLocation ? { redirect: answer.WebsiteRedirectLocation } : {}),
    storageClass: answer.StorageClass ?? 'STANDARD'
  }
}
