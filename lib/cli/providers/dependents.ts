import type { PortalSso } from '../../portal-sso.ts'

/** Who would stand before the door without this provider. */
export async function dependents({ providers }: PortalSso, slug: string, portal: string) {
  const counts = await providers.whoDependsOn(slug, portal)
  const { people, onlyWayIn } = counts
  const signedIn = people === 1 ? '1 person has' : `${people} people have`
  return { counts, sentence: `${signedIn} signed in with it, ${onlyWayIn} of them with nothing else.` }
}
