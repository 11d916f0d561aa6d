import type { StoredEvent } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { describeHealth, type ProviderHealth } from '../providers/provider.ts'
import { describeSetting } from '../providers/settings.ts'
import { phrase } from '../shared/phrase.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { MINUTE } from '../shared/time.ts'
import type { Locale } from '../web/locale.ts'
import { day } from './format.ts'
import { remedyOf } from './remedies.ts'

/** A changed setting, or a fact of an event without a name. */
export interface EventFact {
  name?: string
  before?: string
  value: string
  /** Set for a reason from the log, which is always in English. */
  lang?: 'en'
}

type Detail = Readonly<Record<string, unknown>>
type Words = Pick<Locale, 'lang' | 'say'>

const sessionsEnded = ({ sessions }: Detail, { say }: Words) =>
  sessions === undefined ? [] : [say('{{count}} sessions ended.', { count: Number(sessions) })]

const blockReasons: Readonly<Record<string, string>> = {
  waiting: phrase('The user has another account at this provider. An administrator can accept the new one.'),
  separate: phrase('An administrator decided that it is another person.'),
  allowed: phrase('An administrator allowed the account again.'),
}
const breakGlassSteps: Readonly<Record<string, string>> = {
  made: phrase('A link was created.'),
  used: phrase('A browser opened the link.'),
  'password-posted': phrase('A password was posted to the classic login. It may have been wrong.'),
}
const limits: Readonly<Record<string, string>> = {
  start: phrase('Starts of sign-ins'),
  picker: phrase('Views of the login page'),
  email: phrase('E-mail addresses on the login page'),
  logo: phrase('Logos of providers'),
  callback: phrase('Responses of providers'),
  registration: phrase('Registrations and account pages'),
  code: phrase('E-mailed codes'),
  logout: phrase('Sign-outs'),
  attempt: phrase('Starts of sign-ins with one browser'),
  'failed-exchange': phrase('Refused authorization codes'),
  'front-channel': phrase('Front-channel logouts'),
  'back-channel': phrase('Back-channel logouts'),
}

/** Sentences about an event, by its kind, without values that only a program understands. */
const sentences: { readonly [Kind in EventKind]?: (detail: Detail, words: Words) => readonly string[] } = {
  'signed-out': (detail, words) => [
    ...(detail.actor === 'provider' ? [words.say('The provider reported a sign-out.')] : []),
    ...sessionsEnded(detail, words),
  ],
  'sessions-ended': sessionsEnded,
  'account-reclaimed': (detail, words) => [
    words.say(
      'The owner of the address proved it for the first time. Earlier sessions and unproven sign-in methods have ended.',
    ),
    ...sessionsEnded(detail, words),
    words.say('{{count}} accounts unlinked.', { count: Number(detail.identities ?? 0) }),
  ],
  'identity-blocked': ({ reason }, { say }) => [say(blockReasons[String(reason)] ?? '')],
  'rate-limited': ({ limit, omitted }, { say }) => {
    if (limit === 'records')
      return [say('{{count}} events were not recorded in one minute.', { count: Number(omitted ?? 0) })]
    const name = say(limits[String(limit)] ?? String(limit))
    return [say('{{limit}}: one client address sent too many requests.', { limit: name })]
  },
  'admin-consent': ({ outcome, tenant }, { say }) => {
    const isGranted = outcome === 'granted'
    if (typeof tenant !== 'string') return [isGranted ? say('Granted.') : say('Refused.')]
    return [
      isGranted
        ? say('Granted for the tenant {{tenant}}, as the browser reported.', { tenant })
        : say('Refused for the tenant {{tenant}}, as the browser reported.', { tenant }),
    ]
  },
  'provider-connected': ({ issuer, enabled, testSignIn }, { say }) => [
    enabled === true ? say('Enabled.') : say('Saved as a draft.'),
    ...(testSignIn === 'overridden' ? [say('Enabled without a test sign-in.')] : []),
    say('Issuer: {{issuer}}', { issuer: String(issuer) }),
  ],
  'provider-sign-in-tested': ({ outcome }, { say }) => [
    outcome === 'passed' ? say('Passed.') : say('Failed.'),
  ],
  'secrets-rotated': ({ providers }, { say }) => [
    say('{{count}} providers changed.', { count: Number(providers) }),
  ],
  'provider-retiring': ({ at }, { lang, say }) => [
    say('It will be disabled on {{day}}.', { day: day({ lang }, String(at)) }),
  ],
  'provider-retired': sessionsEnded,
  'client-secret-expiring': ({ days, end }, { lang, say }) => [
    Number(days) > 0
      ? say('It expires in {{count}} days, on {{day}}.', {
          count: Number(days),
          day: day({ lang }, String(end)),
        })
      : say('It expired on {{day}}.', { day: day({ lang }, String(end)) }),
    say('Create a new secret at the provider, enter it here, and delete the old one.'),
  ],
  'provider-unavailable': (detail, { say }) => [
    sentence(say(describeHealth(detail as unknown as ProviderHealth)), say),
  ],
  'break-glass': ({ step }, { say }) => [say(breakGlassSteps[String(step)] ?? '')],
}

/** Changes in `provider-changed` other than settings. The placeholders of a text are the groups of its pattern. */
const changes: readonly (readonly [RegExp, string])[] = [
  [/^enabled$/, phrase('Enabled.')],
  [/^disabled$/, phrase('Disabled.')],
  [/^disabled, its sessions end$/, phrase('Disabled. Its sessions ended.')],
  [/^recommended$/, phrase('Recommended: first on the login page.')],
  [/^no longer recommended$/, phrase('No longer recommended.')],
  [/^moved up$/, phrase('Moved up on the login page.')],
  [/^moved down$/, phrase('Moved down on the login page.')],
  [/^moved to position (?<position>\d+)$/, phrase('Moved to position {{position}} on the login page.')],
  [/^order: (?<order>.*)$/, phrase('New order on the login page: {{order}}.')],
  [/^restored, disabled$/, phrase('Restored, disabled at first.')],
  [/^retirement cancelled$/, phrase('The end date was removed.')],
  [/^client key$/, phrase('A new client key was published.')],
  [/^logo$/, phrase('A new logo was uploaded.')],
  [/^logo removed$/, phrase('The logo was removed.')],
]

function readJson(text: unknown): Detail {
  try {
    return typeof text === 'string' ? (JSON.parse(text) as Detail) : {}
  } catch {
    // Shortened in the event.
    return {}
  }
}

function changeWords({ change, before, after, testSignIn }: Detail, { say }: Words): EventFact[] {
  const text = String(change)
  const skipped = testSignIn === 'overridden' ? [{ value: say('No test sign-in had passed.') }] : []
  const known = changes.find(([pattern]) => pattern.test(text))
  if (known) return [{ value: say(known[1], known[0].exec(text)?.groups) }, ...skipped]
  const [earlier, later] = [readJson(before), readJson(after)]
  const names = text.split(', ')
  return names.map((name) => {
    const [setting, value] = describeSetting(name, later[name], say)
    if (!(name in later)) return { value: say('{{setting}} changed.', { setting }) }
    return { name: setting, before: describeSetting(name, earlier[name], say)[1], value }
  })
}

/** The detail of an event for administrators: what happened, and for a failure what it means and what to do. */
export function describeEvent(event: StoredEvent, words: Words, preset?: string) {
  const { kind, detail } = event
  const reason = typeof detail.reason === 'string' ? detail.reason : undefined
  const facts: EventFact[] =
    kind === 'provider-changed'
      ? changeWords(detail, words)
      : (sentences[kind]?.(detail, words) ?? []).filter(Boolean).map((value) => ({ value }))
  if (kind === 'provider-recovered') facts.push({ value: outageWords(event, words) })
  if (kind === 'email-code-failed' && reason) facts.push({ value: sentence(reason), lang: 'en' })
  const isFailure = kind === 'sign-in-failed'
  const failedTest = kind === 'provider-sign-in-tested' && detail.outcome !== 'passed'
  const remedy = isFailure ? remedyOf(detail, preset) : failedTest ? remedyOf({ code: reason }) : undefined
  return {
    facts,
    remedy,
    reason: isFailure ? reason : undefined,
    isReported: detail.reportedBy === 'browser',
  }
}

function outageWords({ at, detail }: StoredEvent, { say }: Words): string {
  const minutes = Math.max(1, Math.round((Date.parse(at) - Date.parse(String(detail.since))) / MINUTE))
  return Number.isNaN(minutes)
    ? say('It works again.')
    : say('It works again after {{count}} minutes.', { count: minutes })
}
