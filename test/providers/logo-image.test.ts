import { describe, expect, it } from '@jest/globals'
import { readEncodedLogo, readLogo } from '../../lib/providers/logo-image.ts'
import { pngChunk, pngOf, webp, withWebpChunk } from '../support/images.ts'

const png = pngOf(64, 48)

/** A copy with other bytes at an offset. */
function changed(file: Buffer, at: number, bytes: readonly number[]): Buffer {
  const copy = Buffer.from(file)
  copy.set(bytes, at)
  return copy
}

describe('a logo', () => {
  it('is accepted as PNG and WebP, and stays as it is if all of it draws the image', () => {
    expect(readLogo(png)).toEqual({ type: 'image/png', image: png })
    expect(readLogo(pngOf(256, 256)).type).toBe('image/png')
    for (const image of [webp.lossless, webp.lossy, webp.transparent])
      expect(readLogo(image)).toEqual({ type: 'image/webp', image })
    expect(readEncodedLogo(png.toString('base64')).image).toEqual(png)
  })

  it('loses everything that does not draw it: text, metadata, colour profiles, animations and bytes behind its end', () => {
    const script = Buffer.from('<script>alert(1)</script>')
    const more = ['tEXt', 'iTXt', 'zTXt', 'eXIf', 'iCCP', 'acTL', 'fcTL', 'fdAT', 'aBCd'].map((type) =>
      pngChunk(type, script),
    )
    const polyglot = Buffer.concat([pngOf(64, 48, { more }), script])
    expect(readLogo(polyglot)).toEqual({ type: 'image/png', image: png })
    for (const type of ['EXIF', 'XMP ', 'ICCP', 'abcd']) {
      const file = Buffer.concat([
        withWebpChunk(webp.lossless, type, Buffer.from('<b>')),
        Buffer.from('\0<script>'),
      ])
      file.writeUInt32LE(webp.lossless.length + 4, 4)
      expect(readLogo(Buffer.concat([file, script]))).toEqual({ type: 'image/webp', image: webp.lossless })
    }
    // Flags that announce a profile, metadata and an animation.
    expect(readLogo(changed(webp.transparent, 20, [0xff])).image).toEqual(webp.transparent)
  })

  it.each([
    ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>')],
    ['HTML', Buffer.from('<!doctype html><script>alert(1)</script>')],
    ['GIF', Buffer.from('GIF89a\x01\0\x01\0\0\0\0;', 'latin1')],
    ['JPEG', Buffer.from('\xff\xd8\xff\xe0\0\x10JFIF', 'latin1')],
    ['HTML that contains a PNG', Buffer.concat([Buffer.from('<html>'), png])],
    ['a RIFF file that is no WebP', changed(webp.lossless, 8, [...Buffer.from('WAVE')])],
    ['nothing', Buffer.alloc(0)],
  ])('is refused as %s', (_what, file) => {
    expect(() => readLogo(file)).toThrow('the logo must be a PNG or WebP image')
  })

  it.each([
    ['PNG', pngOf(257, 1), '257 × 1 pixels'],
    [
      'PNG whose pixels need gigabytes',
      changed(png, 16, [0x7f, 0xff, 0xff, 0xff]),
      '2,147,483,647 × 48 pixels',
    ],
    ['WebP canvas', changed(webp.transparent, 24, [0xff, 0xff, 0xff]), '16,777,216 × 1 pixels'],
    ['lossy image in a small canvas', changed(webp.transparent, 64, [0xff, 0x3f]), '16,383 × 1 pixels'],
    ['lossless image', changed(webp.lossless, 21, [0xff, 0xff, 0xff, 0x0f]), '16,384 × 16,384 pixels'],
  ])('is refused if its header names too many pixels: %s', (_what, file, message) => {
    expect(() => readLogo(file)).toThrow(`the logo has ${message}: at most 256 × 256 are allowed`)
  })

  it.each([
    ['a PNG that ends early', png.subarray(0, 60)],
    ['a PNG without an end', png.subarray(0, -12)],
    [
      'a PNG whose header is not first',
      Buffer.concat([png.subarray(0, 8), pngChunk('IDAT'), png.subarray(8)]),
    ],
    ['a PNG with two headers', Buffer.concat([png.subarray(0, 33), png.subarray(8)])],
    ['a PNG with a short header', changed(png, 8, [0, 0, 0, 1])],
    ['a PNG chunk that is longer than the file', changed(png, 33, [0xff, 0xff, 0xff, 0xff])],
    ['a PNG of no height', changed(png, 20, [0, 0, 0, 0])],
    ['a WebP that ends early', webp.lossy.subarray(0, 30)],
    ['a WebP chunk that is longer than the file', changed(webp.lossless, 16, [0xff, 0xff, 0xff, 0x7f])],
    ['a WebP without an image', changed(webp.lossless, 12, [...Buffer.from('EXIF')])],
    ['a WebP with a short header', changed(webp.lossy, 12, [...Buffer.from('VP8X'), 2, 0, 0, 0])],
  ])('is refused as damaged: %s', (_what, file) => {
    expect(() => readLogo(file)).toThrow('the logo is damaged')
  })

  it('is refused if it moves', () => {
    expect(() => readLogo(webp.animated)).toThrow('the logo is animated')
  })

  it('is refused above 20 KB, before anything of it is decoded', () => {
    const large = Buffer.concat([png, Buffer.alloc(20 * 1024)])
    expect(() => readLogo(large)).toThrow('the logo is larger than 20 KB')
    expect(() => readEncodedLogo(large.toString('base64'))).toThrow('the logo is larger than 20 KB')
    expect(() => readEncodedLogo('A'.repeat(10_000_000))).toThrow('the logo is larger than 20 KB')
  })
})
