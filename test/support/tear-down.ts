import type {} from './set-up.ts'

export default async function tearDown(): Promise<void> {
  await globalThis.stopTestServices()
}
