// @ts-expect-error Jest loads reporters without a transform, so this one is JavaScript without types.
import { closeRunWith } from './closing-line.js'
import type { Stop } from './services/server.ts'
import { startServices } from './services.ts'

declare global {
  var stopTestServices: Stop
}

export default async function setUp(): Promise<void> {
  try {
    globalThis.stopTestServices = await startServices()
  } catch (error) {
    // Jest calls no reporter if the set-up fails.
    closeRunWith(() => '0 passed, 1 failed')
    throw error
  }
}
