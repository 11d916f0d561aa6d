import type { Store } from 'express-session'

/** The stores that sessions are in: ours, and those of a host's own express-session, which only its requests know. */
export interface KnownStores {
  note(store: Store): void
  all(): readonly Store[]
}

// A host has one or two. One that makes a store for each request must not fill our memory with them.
const most = 8

export function createKnownStores(): KnownStores {
  let stores: readonly Store[] = []
  return {
    note(store) {
      if (!stores.includes(store)) stores = [store, ...stores].slice(0, most)
    },
    all: () => stores,
  }
}
