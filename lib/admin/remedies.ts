import { entraErrorOf } from '../oidc/provider-error.ts'
import { oktaErrors } from '../providers/presets/okta.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProblemCode } from '../shared/errors.ts'

/** The meaning of a refused sign-in, and an administrator's next step. Pages translate them and make sentences of them. */
export interface Remedy {
  meaning: string
  todo: string | undefined
}

const byUser = 'Nothing. The user can try again.'
const rare = 'Nothing, unless it happens often.'

/** A short form of `docs/errors.md`, translated where it is shown. */
export const remedies: Readonly<Record<string, readonly [meaning: string, todo?: string]>> = {
  provider_not_found: [
    'The link names a provider that is disabled or removed.',
    'Enable it, or tell users to start on the login page.',
  ],
  subject_constant: [
    'The provider sends the same user ID for everyone.',
    'Configure it to send a subject (sub) of its own for each user.',
  ],
  provider_unavailable: [
    'The provider did not respond, or reported a fault of its own.',
    'Test the connection. If it fails, ask the provider, and check the network of this server.',
  ],
  provider_denied: [
    'The provider did not admit the user, or the user cancelled.',
    'Check at the provider whether the user is assigned to this application.',
  ],
  provider_error: [
    'The provider refused this portal: a setting is wrong, here or there.',
    'Compare client ID, client secret and redirect URI. Then test a sign-in.',
  ],
  organization_not_admitted: [
    'The account belongs to an organisation that is not admitted.',
    'If these people may sign in, add their tenant in the settings, or invite them as guests.',
  ],
  account_not_assigned: [
    'The account is not assigned to this application at the provider.',
    'Assign the user or a group there.',
  ],
  consent_missing: [
    'An administrator of the organisation has not consented yet.',
    'Consent as administrator, on the page of this provider.',
  ],
  consent_declined: [
    'The user declined when the provider asked for consent.',
    'The user signs in again and accepts.',
  ],
  consent_refused: [
    'An administrator returned without consent.',
    'Start the consent again on the page of this provider.',
  ],
  provider_changed: ['The settings were changed during the sign-in.', byUser],
  response_malformed: ['The response was incomplete.', rare],
  response_invalid: [
    'The response or its tokens did not pass a check.',
    'Test a sign-in: its report shows the check. An attacker can cause single failures.',
  ],
  attempt_expired: ['The sign-in took too long, or began in another browser.', byUser],
  identity_taken: [
    'The account is linked to another user.',
    'Unlink it from that user first, if it is no longer theirs.',
  ],
  method_removed: [
    'The account was unlinked from this user.',
    'To allow it again, open the user on the page Sessions.',
  ],
  linking_failed: [
    'The application did not confirm the link in time.',
    'See the log of the application (onLinked).',
  ],
  signed_out_during_sign_in: ['The provider ended the session during the sign-in.', byUser],
  email_unverified: [
    'The provider did not verify the e-mail address, and no code can be sent.',
    'Set up a mailer. Or trust the addresses of this provider, if your own administrators assign them.',
  ],
  user_inactive: ['The user is deactivated in the portal.', 'Activate the user, if they may sign in.'],
  registration_closed: [
    'The address belongs to no user, and registration is closed.',
    'Create the user, or open the registration.',
  ],
  registration_expired: ['The registration took too long.', byUser],
  link_expired: ['The link was used before, or is older than 15 minutes.', 'Create a new link.'],
  classic_login_disabled: [
    'A password was posted while providers replace the classic login.',
    'Nothing. In an emergency, use break-glass access.',
  ],
  cross_site_request: ['Another site sent this request. Nothing was changed.', rare],
  navigation_required: ['Another page requested this page in the background.', rare],
  authentication_stale: [
    'The provider did not ask the user to sign in again.',
    'The user signs out at the provider first.',
  ],
  authentication_unproven: [
    'The provider did not report when the user signed in.',
    'Configure it to send the claim auth_time.',
  ],
  authentication_too_weak: [
    'The sign-in lacked the required second factor.',
    'Set it up at the provider for this account.',
  ],
  logout_token_invalid: [
    'A logout token was refused, so the sessions continue. Anyone can send a forged one.',
    'Compare with the log of the provider.',
  ],
} satisfies Partial<Record<ProblemCode | 'logout_token_invalid', readonly [string, string?]>>

/**
 * Explains a failure by the error number of Entra, the words of Okta, or its code.
 *
 * @param detail as stored in the event; `reason` quotes the provider, so it selects only texts of ours
 * @param preset of the provider; omitted: unknown
 */
export function remedyOf(
  detail: { code?: unknown; reason?: unknown },
  preset?: Provider['preset'],
): Remedy | undefined {
  const code = String(detail.code)
  const reason = typeof detail.reason === 'string' ? detail.reason : ''
  const [meaning, todo] = (Object.hasOwn(remedies, code) && remedies[code]) || []
  const known = entraErrorOf(reason) ?? (preset === 'okta' ? oktaErrorIn(reason) : undefined)
  if (known) return { meaning: known.cause ?? meaning ?? '', todo: known.hint }
  return meaning === undefined ? undefined : { meaning, todo }
}

function oktaErrorIn(reason: string) {
  return oktaErrors.find(({ pattern }) => pattern.test(reason))
}
