import type { PortalSso } from '../../portal-sso.ts'
import { sessionsThat } from '../sessions-command.ts'

/** Who would stand before the door without this provider, and who is in by it. */
export async function dependents({ providers, sessions }: PortalSso, slug: string, portal: string) {
  const [who, running] = await Promise.all([
    providers.whoDependsOn(slug, portal),
    sessions.count({ provider: slug, portal }),
  ])
  const { people, onlyWayIn } = who
  const signedIn = people === 1 ? '1 person has' : `${people} people have`
  return {
    counts: { ...who, sessions: running },
    sentence: `${signedIn} signed in with it, ${onlyWayIn} of them with nothing else.`,
    sessions: `${sessionsThat(running)} that began with it.`,
  }
}
