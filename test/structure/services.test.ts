import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { chromium } from '../support/services/chromium.ts'

// The pinned browser exists for this platform only.
const onLinux = process.platform === 'linux' && process.arch === 'x64' ? it : it.skip

describe('the browser of the tests', () => {
  onLinux('is the pinned one, whatever Chromium is on the PATH', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'path-'))
    const before = process.env.PATH
    try {
      for (const name of ['chromium', 'google-chrome']) {
        writeFileSync(path.join(folder, name), '#!/bin/sh\n')
        chmodSync(path.join(folder, name), 0o755)
      }
      process.env.PATH = `${folder}${path.delimiter}${before}`
      expect(await chromium.find()).toMatch(/chromium-[\d.]+\/chromium$/)
    } finally {
      process.env.PATH = before
      rmSync(folder, { recursive: true })
    }
  })
})
