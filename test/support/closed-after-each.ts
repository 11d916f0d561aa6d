import { afterEach } from '@jest/globals'

/** Closes everything that a test adds to this array, in reverse order. */
export function closedAfterEach(): { close(): unknown }[] {
  const open: { close(): unknown }[] = []
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close()
  })
  return open
}
