import type { EventKind } from '../events/event.ts'

/** As a person says it. */
const names: Record<EventKind, string> = {
  'signed-in': 'Signed in',
  'signed-out': 'Signed out',
  'sessions-ended': 'Sessions ended',
  refused: 'Refused',
  linked: 'Account linked',
  unlinked: 'Account unlinked',
  registered: 'Registered',
  'address-proof-sent': 'Code sent',
  'address-proven': 'Address proven',
  'address-proof-failed': 'Code not taken',
  'rate-limited': 'Too many requests',
  'provider-connected': 'Provider connected',
  'provider-changed': 'Provider changed',
  'provider-removed': 'Provider removed',
  'provider-forgotten': 'Provider forgotten',
  'provider-rehearsed': 'Sign-in rehearsed',
  'provider-retiring': 'Provider retiring',
  'provider-retired': 'Provider retired',
  'provider-rebinding': 'Finding people again',
  'provider-exported': 'Provider exported',
  'client-secret-expiring': 'Client secret expiring',
  'secrets-rotated': 'Secrets rotated',
  'admin-consent': 'Administrator’s consent',
  'identity-rebound': 'Account found again',
  'break-glass': 'Break-glass link',
}

export const eventKinds: readonly { value: string; label: string }[] = Object.entries(names).map(
  ([value, label]) => ({ value, label }),
)

/** What an older version wrote, and this one does not know, is called by its own name. */
export function kindName(kind: string): string {
  return Object.hasOwn(names, kind) ? names[kind as EventKind] : kind
}
