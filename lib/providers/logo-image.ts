import { ManagementError } from '../shared/errors.ts'
import { type AdminText, phrase } from '../shared/phrase.ts'

export interface LogoImage {
  type: 'image/png' | 'image/webp'
  image: Buffer
}

export const maxLogoBytes = 20 * 1024
const maxPixels = 256

const pngSignature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
/** The chunks that draw a still image. The others hold text, colour profiles, animations or anything else. */
const pngChunks = new Set(['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'gAMA', 'cHRM', 'sRGB', 'sBIT', 'pHYs'])
const webpChunks = new Set(['VP8X', 'VP8 ', 'VP8L', 'ALPH'])

const invalid = (message: AdminText) => new ManagementError('invalid', message)
const damaged = () => invalid(phrase('the logo is damaged: save it again as PNG or WebP'))
const tooLarge = () => invalid(phrase('the logo is larger than 20 KB'))

/**
 * Checks a logo by its content, and keeps only what draws it. Attacker: an administrator who uploads HTML, SVG, a file that is an
 * image and a script, or a small file that unpacks to a huge image, for the browsers of everybody who signs in.
 *
 * @throws ManagementError `invalid`
 */
export function readLogo(content: Uint8Array): LogoImage {
  if (content.length > maxLogoBytes) throw tooLarge()
  const file = Buffer.from(content)
  if (file.subarray(0, 8).equals(pngSignature)) return { type: 'image/png', image: readPng(file) }
  if (/^RIFF.{4}WEBP$/s.test(file.toString('latin1', 0, 12)))
    return { type: 'image/webp', image: readWebp(file) }
  throw invalid(phrase('the logo must be a PNG or WebP image'))
}

/** @param image base64, as in a file of exported providers. @throws ManagementError `invalid` */
export function readEncodedLogo(image: string): LogoImage {
  // Decode nothing that is longer than the largest image in base64.
  if (image.length > maxLogoBytes * 1.4) throw tooLarge()
  return readLogo(Buffer.from(image, 'base64'))
}

/** PNG specification, 5. Bytes behind the end are dropped. */
function readPng(file: Buffer): Buffer {
  const kept: Uint8Array[] = [pngSignature]
  for (let at = 8; ; ) {
    if (at + 12 > file.length) throw damaged()
    const length = file.readUInt32BE(at)
    const type = file.toString('latin1', at + 4, at + 8)
    const chunk = file.subarray(at, at + 12 + length)
    if (chunk.length < 12 + length || (at === 8) !== (type === 'IHDR')) throw damaged()
    if (type === 'IHDR' && length !== 13) throw damaged()
    if (type === 'IHDR') assertSize(chunk.readUInt32BE(8), chunk.readUInt32BE(12))
    if (pngChunks.has(type)) kept.push(chunk)
    if (type === 'IEND') return Buffer.concat(kept)
    at += chunk.length
  }
}

/** WebP container specification (RFC 9649). Bytes behind the end are dropped. */
function readWebp(file: Buffer): Buffer {
  const kept: Uint8Array[] = [Buffer.from('WEBP', 'latin1')]
  const end = file.readUInt32LE(4) + 8
  if (end > file.length) throw damaged()
  let hasImage = false
  for (let at = 12; at < end; ) {
    if (at + 8 > end) throw damaged()
    const type = file.toString('latin1', at, at + 4)
    const length = file.readUInt32LE(at + 4)
    const data = file.subarray(at + 8, at + 8 + length)
    if (data.length < length) throw damaged()
    if (type === 'ANIM' || type === 'ANMF') throw invalid(phrase('the logo is animated: use a still image'))
    if (webpChunks.has(type)) kept.push(file.subarray(at, at + 8), readWebpChunk(type, data))
    hasImage ||= type === 'VP8 ' || type === 'VP8L'
    at += 8 + length + (length % 2)
  }
  if (!hasImage) throw damaged()
  const header = Buffer.from('RIFF....', 'latin1')
  header.writeUInt32LE(
    kept.reduce((sum, { length }) => sum + length, 0),
    4,
  )
  return Buffer.concat([header, ...kept])
}

/** Checks the size in each header: a decoder may allocate that of the canvas, or that of the image inside. */
function readWebpChunk(type: string, data: Buffer): Buffer {
  // Chunks have an even length.
  const chunk = Buffer.alloc(data.length + (data.length % 2))
  data.copy(chunk)
  if (type === 'ALPH') return chunk
  if (chunk.length < (type === 'VP8L' ? 6 : 10)) throw damaged()
  if (type === 'VP8X') {
    // Only the flag for transparency: the chunks that the others announce are dropped.
    chunk[0] = chunk.readUInt8(0) & 0x10
    assertSize(chunk.readUIntLE(4, 3) + 1, chunk.readUIntLE(7, 3) + 1)
  } else if (type === 'VP8L') {
    const bits = chunk.readUInt32LE(1)
    assertSize((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)
  } else assertSize(chunk.readUInt16LE(6) & 0x3fff, chunk.readUInt16LE(8) & 0x3fff)
  return chunk
}

function assertSize(width: number, height: number): void {
  if (width < 1 || height < 1) throw damaged()
  if (width > maxPixels || height > maxPixels)
    throw invalid(
      phrase('the logo has {{width}} × {{height}} pixels: at most {{most}} × {{most}} are allowed', {
        width,
        height,
        most: maxPixels,
      }),
    )
}
