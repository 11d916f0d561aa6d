import type { EventFilter, History, StoredEvent } from './history.ts'

/** Events of one export at most: a spreadsheet takes a million, but nobody reads them. */
export const mostExported = 100_000

/** Page after page, as fast as they are read: however many there are, a few are in memory. */
export async function* pagesOf(
  history: History,
  filter: EventFilter,
  portal: string,
  most = mostExported,
): AsyncGenerator<StoredEvent[]> {
  let before: string | undefined
  let left = most
  do {
    const { events, next } = await history.list({ ...filter, before, most: Math.min(left, 1000) }, portal)
    yield events
    left -= events.length
    before = next
  } while (before !== undefined && left > 0)
}
