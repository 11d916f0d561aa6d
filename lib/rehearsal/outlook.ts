import type { ProblemCode } from '../errors.ts'
import type { Turn } from '../sign-in/decide.ts'
import type { Identity } from '../sign-in/identity.ts'
import type { User } from '../users/user-directory.ts'

/** What would have come of a sign-in. */
export interface Outlook {
  sentence: string
  /** whose account it would have been */
  user?: User | undefined
  /** why it would have been refused */
  refused?: ProblemCode | undefined
}

/** @param provesAddresses whether codes can be sent */
export function outlookOf(turn: Turn, { email }: Identity, provesAddresses: boolean): Outlook {
  switch (turn.turn) {
    case 'known':
      return { sentence: 'This account is linked: it would come in as', user: turn.user }
    case 'link':
      return {
        sentence: turn.again
          ? 'The person was known before, and has a new subject: this account would be linked anew and come in as'
          : `${email} belongs to a user: this account would be linked and come in as`,
        user: turn.user,
      }
    case 'register':
      return { sentence: `${turn.email} is new here: the registration form would show.` }
    case 'prove':
      return provesAddresses
        ? {
            sentence: `The provider does not vouch for ${email ?? 'an address'}: it would have to be proven by a code first.`,
          }
        : {
            sentence:
              'It would be refused: the provider does not vouch for the address, and the portal has no mailer to prove it with a code.',
            refused: 'address_unproven',
          }
    case 'refuse':
      return {
        sentence:
          turn.reason === 'user_inactive'
            ? 'It would be refused: the user is switched off.'
            : `It would be refused: ${email} is new here, and the portal does not let it register.`,
        refused: turn.reason,
      }
  }
}
