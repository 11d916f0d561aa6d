import type { Identity } from '../oidc/identity.ts'
import type { ProblemCode } from '../shared/errors.ts'
import { type AdminText, phrase } from '../shared/phrase.ts'
import type { Decision } from '../sign-in/decide.ts'
import type { User } from '../users/user-directory.ts'

export interface PredictedOutcome {
  sentence: AdminText
  user?: User | undefined
  refused?: ProblemCode | undefined
  /** whether the user would have to confirm an address with a code */
  needsCode?: true
  /** the user with the claimed address; not to be shown, except to this user */
  afterCode?: User | undefined
}

const refusedBecause = {
  user_inactive: () => phrase('The user is deactivated.', {}),
  method_removed: () =>
    phrase('This sign-in method was removed. Its user can add it again on the account page.', {}),
  registration_closed: (email: string) =>
    phrase('{{email}} is new here, and the portal does not let it register.', { email }),
}

/** @param afterCode how the sign-in would continue after the user confirmed the claimed address with a code */
export function predictOutcome(
  decision: Decision,
  { email }: Identity,
  canVerifyEmail: boolean,
  afterCode?: Decision,
): PredictedOutcome {
  const address = email ?? ''
  switch (decision.kind) {
    case 'sign-in':
    case 'link':
      return { sentence: sentenceWithUser(decision, address), user: decision.user }
    case 'prove-account':
      return {
        sentence: phrase(
          '{{address}} belongs to a user who has another account here. Its owner would first have to sign in with that one, or an administrator would have to accept this one.',
          { address },
        ),
      }
    case 'register':
      return {
        sentence: phrase('{{address}} is new here. The registration form would be shown.', {
          address: decision.email,
        }),
      }
    case 'verify-email':
      if (canVerifyEmail) return predictVerification(email, afterCode)
      return {
        sentence: phrase(
          'The sign-in would be refused. The settings do not trust the address, and the portal has no mailer to send a code.',
        ),
        refused: 'email_unverified',
      }
    case 'refuse': {
      const { reason: refused } = decision
      const reason = refusedBecause[refused](address)
      return { sentence: phrase('The sign-in would be refused. {{reason}}', { reason }), refused }
    }
  }
}

function sentenceWithUser(
  decision: Extract<Decision, { kind: 'sign-in' | 'link' }>,
  address: string,
): AdminText {
  const user = nameOf(decision.user)
  if (decision.kind === 'sign-in')
    return phrase('This account is linked. It would be signed in as {{name}} ({{email}}).', user)
  return decision.relinked
    ? phrase(
        'This Entra account is linked under another subject. Its new subject would be linked and signed in as {{name}} ({{email}}).',
        user,
      )
    : phrase(
        '{{address}} belongs to a user. This account would be linked and signed in as {{name}} ({{email}}).',
        { address, ...user },
      )
}

/** Never names the user: the provider may claim any address, so the tester need not be its owner. */
function predictVerification(address: string | undefined, afterCode?: Decision): PredictedOutcome {
  if (address === undefined)
    return {
      sentence: phrase(
        'The provider sent no e-mail address. The user would have to enter one, and confirm it with a code first.',
      ),
      needsCode: true,
    }
  if (afterCode?.kind === 'refuse') {
    const reason = refusedBecause[afterCode.reason](address)
    const values = { address, reason }
    return {
      sentence: phrase(
        'The sign-in would be refused after a code was sent to {{address}}. {{reason}}',
        values,
      ),
      refused: afterCode.reason,
    }
  }
  return {
    sentence: phrase(
      'The settings do not trust {{address}}. The user would have to confirm it with a code first.',
      { address },
    ),
    needsCode: true,
    afterCode: afterCode?.kind === 'link' ? afterCode.user : undefined,
  }
}

function nameOf({ name, email }: User) {
  return { name, email }
}

/** True if the tester is signed in as the user that the sign-in would reach, after a code if necessary. */
function wouldBe(current: User | undefined, { user, afterCode }: PredictedOutcome): boolean {
  const reached = user ?? afterCode
  return reached !== undefined && current !== undefined && String(reached.id) === String(current.id)
}

/**
 * The existing user that the sign-in would reach. If a code is necessary, only for the signed-in tester: the provider may claim the
 * address of anybody.
 */
export function reachedUserId(predicted: PredictedOutcome, current: User | undefined): string | undefined {
  const { user, afterCode } = predicted
  const reached = user ?? (wouldBe(current, predicted) ? afterCode : undefined)
  return reached && String(reached.id)
}

export function compareWithCurrentUser(predicted: PredictedOutcome, current?: User): AdminText | undefined {
  const { user } = predicted
  if (wouldBe(current, predicted) && !user)
    return phrase('You would then be signed in as the same user as now.')
  if (!user || !current) return undefined
  return String(user.id) === String(current.id)
    ? phrase('You are signed in as this user now.')
    : phrase('This is a different user. You are signed in as {{name}} ({{email}}).', nameOf(current))
}
