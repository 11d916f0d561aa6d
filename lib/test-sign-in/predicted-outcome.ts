import type { Identity } from '../oidc/identity.ts'
import type { ProblemCode } from '../shared/errors.ts'
import type { Decision } from '../sign-in/decide.ts'
import type { User } from '../users/user-directory.ts'

export interface PredictedOutcome {
  sentence: string
  user?: User | undefined
  refused?: ProblemCode | undefined
}

const refusedBecause = {
  user_inactive: () => 'The user is deactivated.',
  method_removed: () => 'Its user removed this sign-in method and can add it again on the account page.',
  registration_closed: (email: string | undefined) =>
    `${email} is new here, and the portal does not let it register.`,
}

export function predictOutcome(
  decision: Decision,
  { email }: Identity,
  canVerifyEmail: boolean,
): PredictedOutcome {
  switch (decision.kind) {
    case 'sign-in':
      return { sentence: 'This account is linked. It would be signed in as', user: decision.user }
    case 'link':
      return {
        sentence: decision.relinked
          ? 'This Entra account is linked under another subject. Its new subject would be linked and signed in as'
          : `${email} belongs to a user. This account would be linked and signed in as`,
        user: decision.user,
      }
    case 'prove-account':
      return {
        sentence: `${email} belongs to a user who has another account here. Its owner would first have to sign in with that one, or an administrator would have to accept this one.`,
      }
    case 'register':
      return { sentence: `${decision.email} is new here. The registration form would be shown.` }
    case 'verify-email':
      return canVerifyEmail
        ? {
            sentence: `The provider did not verify ${email ?? 'an e-mail address'}. The user would have to confirm it with a code first.`,
          }
        : {
            sentence:
              'The sign-in would be refused. The provider did not verify the address, and the portal has no mailer to send a code.',
            refused: 'email_unverified',
          }
    case 'refuse':
      return {
        sentence: `The sign-in would be refused. ${refusedBecause[decision.reason](email)}`,
        refused: decision.reason,
      }
  }
}

export function compareWithCurrentUser(predicted: PredictedOutcome, current?: User): string | undefined {
  const { user } = predicted
  if (!user || !current) return undefined
  return String(user.id) === String(current.id)
    ? 'You are signed in as this user now.'
    : `This is a different user. You are signed in as ${current.name} (${current.email}).`
}
