import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import Fastify from 'fastify'
import { textToSign, type Fields } from '../../sandbox/sns/message.ts'
import { coalesce } from '../../src/store/coalesce.ts'
import { storeBare, withBareStore } from './bare-store.ts'

/**
 * The least that an intake does: a body is read, its signature verified, and one row stored, with one commit for all that
 * arrived meanwhile. Tells its parent its port, and ends with it. Its argument is SNS's certificate.
 */
const key = createPublicKey(new X509Certificate(process.argv[2] ?? '').publicKey.export({ type: 'spki', format: 'pem' }))
await withBareStore(async store => {
  const add = coalesce<string, void>(async keys => {
    await storeBare(store, keys)
    return keys.map(() => undefined)
  }, { max: 200 })
  const app = Fastify()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
  app.post('/sns', async (request, reply) => {
    const fields = JSON.parse(String(request.body)) as Fields
    if (!verify('sha256', Buffer.from(textToSign(fields)), key, Buffer.from(fields['Signature'] ?? '', 'base64'))) return await reply.code(403).send()
    const { Records: [record] } = JSON.parse(fields['Message'] ?? '') as { Records: [{ s3: { object: { key: string } } }] }
    await add(record.s3.object.key)
    return await reply.send('')
  })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  process.send?.(origin)
  await new Promise(resolve => { process.once('disconnect', resolve) })
  await app.close()
})
