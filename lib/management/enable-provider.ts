import type { Provider } from '../providers/provider.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import { HOUR } from '../shared/time.ts'

/** Options of `enable`. */
export interface EnableOptions extends ActOptions {
  /** Enable it although no test sign-in has passed. The event log records it. Default false. */
  withoutTestSignIn?: boolean | undefined
}

/** Options of `disable` and `remove`. */
export interface DisableOptions extends ActOptions {
  /** Also end the sessions that started with it. Default false: they last until they expire. */
  endSessions?: boolean | undefined
}

const maxTestAgeHours = 12

/**
 * The first provider of a portal replaces the classic login: with a wrong one, its administrator would be locked out with
 * all users. So its test sign-in must be recent and end with an existing user.
 *
 * @param first whether no other provider of the portal is enabled
 * @throws ManagementError `not_allowed` that says what to do
 */
export function assertTestedSignIn(
  { slug, testSignInAt, testSignInUserId }: Pick<Provider, 'slug' | 'testSignInAt' | 'testSignInUserId'>,
  first: boolean,
): void {
  const instead = `run a test sign-in (admin pages, or \`portal-sso providers test-sign-in ${slug}\`), or enable it without one on purpose`
  const notAllowed = (message: string) => new ManagementError('not_allowed', message)
  if (testSignInAt === undefined)
    throw notAllowed(`no test sign-in has passed with the current settings of "${slug}": ${instead}`)
  if (!first) return
  const lockOut = 'it would be the only sign-in method and replace the classic login'
  if (Date.now() - Date.parse(testSignInAt) > maxTestAgeHours * HOUR)
    throw notAllowed(
      `the test sign-in of "${slug}" is older than ${maxTestAgeHours} hours, but ${lockOut}: ${instead}`,
    )
  if (testSignInUserId === undefined)
    throw notAllowed(
      `the test sign-in of "${slug}" ended without an existing user, but ${lockOut}: use an account whose address the provider vouches for and the portal knows, or enable it without a test sign-in on purpose`,
    )
}
