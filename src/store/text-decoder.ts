/**
 * PGlite reads what the database answers by decoders that drop a U+FEFF at the start of each text, and with it a part of
 * a key. This gives it decoders that drop nothing.
 */
globalThis.TextDecoder = class extends TextDecoder {
  constructor (...[label, options]: ConstructorParameters<typeof TextDecoder>) {
    super(label, { ignoreBOM: true, ...options })
  }
}
