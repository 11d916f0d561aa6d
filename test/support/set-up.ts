// @ts-expect-error Jest loads reporters as they are, so this one has no types.
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
    // Jest asks no reporter then.
    closeRunWith(() => '0 passed, 1 failed')
    throw error
  }
}
