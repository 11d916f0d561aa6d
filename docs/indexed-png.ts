import { crc32, deflateSync, inflateSync } from 'node:zlib'

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Enough for the shades at the edges of letters, and for the marks of vendors. */
const maxColours = 128

/** @returns a screenshot of Chromium (8 bits, RGB or RGBA, not interlaced) with a palette, which makes it a third as large */
export function toIndexedPng(png: Buffer): Buffer {
  const { width, height, colours } = decode(png)
  const palette = choosePalette(colours)
  const nearest = new Map(palette.map((colour, at) => [colour, at]))
  const indexOf = (colour: number) => {
    let index = nearest.get(colour)
    if (index === undefined) {
      index = closest(palette, colour)
      nearest.set(colour, index)
    }
    return index
  }
  // Each line begins with the number of its filter: none.
  const lines = Buffer.alloc(height * (width + 1))
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) lines[y * (width + 1) + 1 + x] = indexOf(colours[y * width + x] ?? 0)
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 3, 0, 0, 0], 8)
  const colourBytes = Buffer.from(
    palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]),
  )
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('PLTE', colourBytes),
    chunk('IDAT', deflateSync(lines, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}

function decode(png: Buffer): { width: number; height: number; colours: Uint32Array } {
  const data: Buffer[] = []
  for (let at = signature.length; at < png.length; ) {
    const length = png.readUInt32BE(at)
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length))
    at += length + 12
  }
  const [width, height, type] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25]]
  const pixelBytes = type === 6 ? 4 : 3
  const lineBytes = width * pixelBytes
  const raw = inflateSync(Buffer.concat(data))
  const pixels = Buffer.alloc(height * lineBytes)
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (lineBytes + 1)] ?? 0
    for (let x = 0; x < lineBytes; x++) {
      const at = y * lineBytes + x
      const left = x < pixelBytes ? 0 : (pixels[at - pixelBytes] ?? 0)
      const up = y === 0 ? 0 : (pixels[at - lineBytes] ?? 0)
      const upLeft = x < pixelBytes || y === 0 ? 0 : (pixels[at - lineBytes - pixelBytes] ?? 0)
      pixels[at] = (raw[y * (lineBytes + 1) + 1 + x] ?? 0) + predicted(filter, left, up, upLeft)
    }
  }
  const colours = new Uint32Array(width * height)
  for (let at = 0; at < colours.length; at++) colours[at] = pixels.readUIntBE(at * pixelBytes, 3)
  return { width, height, colours }
}

/** The filters of PNG (ISO 15948, 9.2). */
function predicted(filter: number, left: number, up: number, upLeft: number): number {
  if (filter === 1) return left
  if (filter === 2) return up
  if (filter === 3) return (left + up) >> 1
  if (filter !== 4) return 0
  const [toLeft, toUp, toUpLeft] = [left, up, upLeft].map((each) => Math.abs(left + up - upLeft - each)) as [
    number,
    number,
    number,
  ]
  if (toLeft <= toUp && toLeft <= toUpLeft) return left
  return toUp <= toUpLeft ? up : upLeft
}

/** The most frequent colours, then one of each hue and shade, so that small marks keep their colour. */
function choosePalette(colours: Uint32Array): number[] {
  const counts = new Map<number, number>()
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1)
  const byCount = [...counts].sort(([, a], [, b]) => b - a).map(([colour]) => colour)
  const palette = byCount.slice(0, 32)
  const chosen = new Set(palette.map((colour) => colour & 0xf0f0f0))
  for (const colour of byCount.slice(32)) {
    if (chosen.has(colour & 0xf0f0f0)) continue
    chosen.add(colour & 0xf0f0f0)
    palette.push(colour)
  }
  return palette.slice(0, maxColours)
}

function closest(palette: number[], colour: number): number {
  let [found, least] = [0, Number.POSITIVE_INFINITY]
  for (const [at, each] of palette.entries()) {
    const distance = [16, 8, 0].reduce(
      (sum, shift) => sum + (((each >> shift) & 255) - ((colour >> shift) & 255)) ** 2,
      0,
    )
    if (distance < least) [found, least] = [at, distance]
  }
  return found
}
