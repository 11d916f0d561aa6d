import { afterEach } from '@jest/globals'

/** What a test puts here is closed after it, the last first. */
export function closedAfterEach(): { close(): unknown }[] {
  const open: { close(): unknown }[] = []
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close()
  })
  return open
}
