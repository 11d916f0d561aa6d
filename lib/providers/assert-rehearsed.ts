import { ConfigurationError } from '../errors.ts'
import type { Provider } from './provider.ts'

/** hours */
const fresh = 12

/**
 * Nobody should find out at the login page that a provider does not work. With the first one of a portal the classic login goes
 * off, and whoever set it up wrong would be locked out with everybody else: so there somebody has to have come in just now.
 *
 * @param first whether no other provider of the portal is enabled
 * @throws ConfigurationError that says what to do
 */
export function assertRehearsed(
  { slug, rehearsedAt, rehearsedAs }: Pick<Provider, 'slug' | 'rehearsedAt' | 'rehearsedAs'>,
  first: boolean,
): void {
  const how = `rehearse a sign-in with it (admin pages, or \`portal-sso providers rehearse ${slug}\`), or enable it without a rehearsal on purpose`
  if (rehearsedAt === undefined)
    throw new ConfigurationError(`"${slug}" has not been rehearsed with its settings of now: ${how}`)
  if (!first) return
  const lockOut = 'it would be the only way in, and replace the classic login'
  if (Date.now() - Date.parse(rehearsedAt) > fresh * 3_600_000)
    throw new ConfigurationError(
      `"${slug}" was rehearsed more than ${fresh} hours ago, but ${lockOut}: ${how}`,
    )
  if (rehearsedAs === undefined)
    throw new ConfigurationError(
      `the rehearsal of "${slug}" ended with nobody who has an account here, but ${lockOut}: rehearse it with an account whose address the provider vouches for and the portal knows, or enable it without a rehearsal on purpose`,
    )
}
