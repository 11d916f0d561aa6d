import type { Request } from 'express'

/** What is said of an act on the page after it. A fixed list: an address must not be able to put words into our mouth. */
const messages = {
  connected:
    'Saved as a draft: nobody sees it yet. Enter the addresses below at the provider, then rehearse a sign-in.',
  saved: 'Saved. It counts from the next sign-in on: sessions that run go on.',
  tested: 'Tested just now.',
  testedSome: 'Tested, but not all: it took too long. Test the others on their own pages.',
  enabled: 'Enabled: everybody can sign in with it from now on.',
  disabled: 'Disabled: it is gone from the login page.',
  recommended: 'Recommended: it comes first on the login page.',
  notRecommended: 'No longer recommended.',
  moved: 'The order on the login page has changed.',
  promoted: 'The exchange has ended: the second client secret is the only one now.',
  rotated: 'A new key is published. It signs from an hour on, so that the provider has time to fetch it.',
  retiring: 'The day is set. Until then the login page says so.',
  kept: 'It stays: the day is taken back.',
  removed: 'Removed. It can be restored below until it is forgotten.',
  restored: 'Restored as a draft: nobody sees it until you enable it.',
  sessionEnded: 'The session is ended, on every instance within seconds.',
  sessionsEnded: 'They are ended, on every instance within seconds.',
  sessionsOver: 'It had ended already.',
  rebinding: 'From now on people are found again by what has stayed the same.',
  rebindingStopped: 'Nobody is found again from now on; who was stays.',
  rebindingUndone: 'All links that were made so are taken back.',
} as const

export type Message = keyof typeof messages

export function messageOf(req: Request): string | undefined {
  const { done } = req.query
  return typeof done === 'string' && Object.hasOwn(messages, done) ? messages[done as Message] : undefined
}
