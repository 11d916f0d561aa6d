import type { StoredEvent } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { describeHealth, type ProviderHealth } from '../providers/provider.ts'
import { describeSetting } from '../providers/settings.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { MINUTE } from '../shared/time.ts'
import { count, day } from './format.ts'
import { remedyOf } from './remedies.ts'

/** A changed setting, or a fact of an event without a name. */
export interface EventFact {
  name?: string
  before?: string
  value: string
}

type Detail = Readonly<Record<string, unknown>>

const sessionsEnded = ({ sessions }: Detail) =>
  sessions === undefined ? [] : [`${count(Number(sessions), 'session', 'sessions')} ended.`]

const blockReasons: Readonly<Record<string, string>> = {
  waiting: 'The user has another account at this provider. An administrator can accept the new one.',
  separate: 'An administrator decided that it is another person.',
  allowed: 'An administrator allowed the account again.',
}
const breakGlassSteps: Readonly<Record<string, string>> = {
  made: 'A link was created.',
  used: 'A browser opened the link.',
  'password-posted': 'A password was posted to the classic login. It may have been wrong.',
}
const limits: Readonly<Record<string, string>> = {
  start: 'Starts of sign-ins',
  picker: 'Views of the login page',
  email: 'E-mail addresses on the login page',
  logo: 'Logos of providers',
  callback: 'Responses of providers',
  registration: 'Registrations and account pages',
  code: 'E-mailed codes',
  logout: 'Sign-outs',
  attempt: 'Starts of sign-ins with one browser',
  'failed-exchange': 'Refused authorization codes',
  'front-channel': 'Front-channel logouts',
  'back-channel': 'Back-channel logouts',
}

/** Sentences about an event, by its kind, without values that only a program understands. */
const sentences: { readonly [Kind in EventKind]?: (detail: Detail) => readonly string[] } = {
  'signed-out': (detail) => [
    ...(detail.actor === 'provider' ? ['The provider reported a sign-out.'] : []),
    ...sessionsEnded(detail),
  ],
  'sessions-ended': sessionsEnded,
  'account-reclaimed': (detail) => [
    'The owner of the address proved it for the first time. Earlier sessions and unproven sign-in methods have ended.',
    ...sessionsEnded(detail),
    `${count(Number(detail.identities ?? 0), 'account', 'accounts')} unlinked.`,
  ],
  'identity-blocked': ({ reason }) => [blockReasons[String(reason)] ?? ''],
  'email-code-failed': ({ reason }) => (typeof reason === 'string' ? [sentence(reason)] : []),
  'rate-limited': ({ limit, omitted }) =>
    limit === 'records'
      ? [`${count(Number(omitted ?? 0), 'event was', 'events were')} not recorded in one minute.`]
      : [`${limits[String(limit)] ?? String(limit)}: one client address sent too many requests.`],
  'admin-consent': ({ outcome, tenant }) => [
    `${outcome === 'granted' ? 'Granted' : 'Refused'}${typeof tenant === 'string' ? ` for the tenant ${tenant}, as the browser reported` : ''}.`,
  ],
  'provider-connected': ({ issuer, enabled, testSignIn }) => [
    enabled === true ? 'Enabled.' : 'Saved as a draft.',
    ...(testSignIn === 'overridden' ? ['Enabled without a test sign-in.'] : []),
    `Issuer: ${String(issuer)}`,
  ],
  'provider-sign-in-tested': ({ outcome }) => [outcome === 'passed' ? 'Passed.' : 'Failed.'],
  'secrets-rotated': ({ providers }) => [`${count(Number(providers), 'provider', 'providers')} changed.`],
  'provider-retiring': ({ at }) => [`It will be disabled on ${day(String(at))}.`],
  'provider-retired': sessionsEnded,
  'client-secret-expiring': ({ days, end }) => [
    Number(days) > 0
      ? `It expires in ${count(Number(days), 'day', 'days')}, on ${day(String(end))}.`
      : `It expired on ${day(String(end))}.`,
    'Create a new secret at the provider, enter it here, and delete the old one.',
  ],
  'provider-unavailable': (detail) => [sentence(describeHealth(detail as unknown as ProviderHealth))],
  'break-glass': ({ step }) => [breakGlassSteps[String(step)] ?? ''],
}

/** Changes of `provider-changed` that are no settings. */
const changes: readonly (readonly [RegExp, string])[] = [
  [/^enabled$/, 'Enabled.'],
  [/^disabled$/, 'Disabled.'],
  [/^disabled, its sessions end$/, 'Disabled. Its sessions ended.'],
  [/^recommended$/, 'Recommended: first on the login page.'],
  [/^no longer recommended$/, 'No longer recommended.'],
  [/^moved (up|down)$/, 'Moved $1 on the login page.'],
  [/^moved to position (\d+)$/, 'Moved to position $1 on the login page.'],
  [/^order: (.*)$/, 'New order on the login page: $1.'],
  [/^restored, disabled$/, 'Restored, disabled at first.'],
  [/^retirement cancelled$/, 'The end date was removed.'],
  [/^client key$/, 'A new client key was published.'],
  [/^logo$/, 'A new logo was uploaded.'],
  [/^logo removed$/, 'The logo was removed.'],
]

function readJson(text: unknown): Detail {
  try {
    return typeof text === 'string' ? (JSON.parse(text) as Detail) : {}
  } catch {
    // Shortened in the event.
    return {}
  }
}

function changeWords({ change, before, after, testSignIn }: Detail): EventFact[] {
  const text = String(change)
  const skipped = testSignIn === 'overridden' ? [{ value: 'No test sign-in had passed.' }] : []
  const known = changes.find(([pattern]) => pattern.test(text))
  if (known) return [{ value: text.replace(...known) }, ...skipped]
  const [earlier, later] = [readJson(before), readJson(after)]
  const names = text.split(', ')
  return names.map((name) => {
    if (!(name in later)) return { value: `${describeSetting(name, undefined)[0]} changed.` }
    const [label, value] = describeSetting(name, later[name])
    return { name: label, before: describeSetting(name, earlier[name])[1], value }
  })
}

/** The detail of an event for administrators: what happened, and for a failure what it means and what to do. */
export function describeEvent(event: StoredEvent, preset?: string) {
  const { kind, detail } = event
  const facts: EventFact[] =
    kind === 'provider-changed'
      ? changeWords(detail)
      : (sentences[kind]?.(detail) ?? []).filter(Boolean).map((value) => ({ value }))
  if (kind === 'provider-recovered') facts.push({ value: outageWords(event) })
  const isFailure = kind === 'sign-in-failed'
  const failedTest = kind === 'provider-sign-in-tested' && detail.outcome !== 'passed'
  const remedy = isFailure
    ? remedyOf(detail, preset)
    : failedTest
      ? remedyOf({ code: detail.reason })
      : undefined
  return {
    facts,
    remedy,
    reason: isFailure && typeof detail.reason === 'string' ? detail.reason : undefined,
    isReported: detail.reportedBy === 'browser',
  }
}

function outageWords({ at, detail }: StoredEvent): string {
  const minutes = Math.max(1, Math.round((Date.parse(at) - Date.parse(String(detail.since))) / MINUTE))
  return Number.isNaN(minutes)
    ? 'It works again.'
    : `It works again after ${count(minutes, 'minute', 'minutes')}.`
}
