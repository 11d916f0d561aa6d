import type { Activity, EventFilter, EventHistory, StoredEvent } from '../events/event-history.ts'
import type { ActOptions } from '../shared/act-options.ts'

/** The stored events of a portal. */
export class HistoryApi {
  readonly #history: EventHistory
  readonly #portal: string

  /** @internal */
  constructor(history: EventHistory, portal = 'default') {
    this.#history = history
    this.#portal = portal
  }

  /**
   * The newest events first. `next` is the `before` of the next page.
   *
   * @throws ConfigurationError for an invalid date or `before`
   */
  async list(
    filter: EventFilter = {},
    options: ActOptions = {},
  ): Promise<{ events: StoredEvent[]; next: string | undefined }> {
    return await this.#history.list(filter, options.portal ?? this.#portal)
  }

  /** Page after page, as fast as you read them. `maxEvents`: at most, and by default, 100,000. */
  pages(
    filter: EventFilter = {},
    options: ActOptions & { maxEvents?: number | undefined } = {},
  ): AsyncGenerator<StoredEvent[]> {
    return this.#history.pages(filter, options.portal ?? this.#portal, options.maxEvents)
  }

  /** Sign-ins of the last 30 days and the latest problems of each connected provider, by slug. */
  async activity(options: ActOptions = {}): Promise<Map<string, Activity>> {
    return await this.#history.activity(options.portal ?? this.#portal)
  }
}
