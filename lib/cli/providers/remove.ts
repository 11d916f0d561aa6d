import type { Command } from 'commander'
import type { PortalSso } from '../../create-portal-sso.ts'
import { type Common, momentOf, on, verb } from '../command.ts'
import { withWorkbench } from '../environment.ts'
import { printJson, printTable, say } from '../output.ts'
import { confirm } from '../prompt.ts'
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

/** Parting with a provider, soon or now, and having it back. */
export function addPart(providers: Command): void {
  verb(
    providers,
    'retire <slug>',
    'on a day to come it is disabled and its sessions end; the login page says so until then',
    'providers retire acme --at 2027-01-31',
  )
    .requiredOption('--at <date>', 'such as 2027-01-31, or 2027-01-31T18:00:00Z')
    .action((slug: string, flags: Common & { at: string }) =>
      withWorkbench(async ({ sso, by }) => {
        const at = momentOf(flags.at, '--at')
        const { portal } = flags
        const { counts, sentence } = await dependents(sso, slug, portal)
        await sso.providers.retire(slug, at, { portal, by })
        const until = at.toISOString()
        const back = `\`portal-sso providers keep ${slug}${on(portal)}\` takes it back.`
        say(flags, { slug, retiringAt: until, ...counts }, `${slug} retires on ${until}. ${sentence} ${back}`)
      }),
    )

  verb(
    providers,
    'keep <slug>',
    'take a retirement back, as long as the day has not come',
    'providers keep acme',
  ).action((slug: string, flags: Common) =>
    withWorkbench(async ({ sso, by }) => {
      await sso.providers.keep(slug, { portal: flags.portal, by })
      say(flags, { slug, retiringAt: null }, `${slug} stays`)
    }),
  )

  verb(
    providers,
    'remove <slug>',
    'forget it after 30 days; users and links stay; says how many have only this way in, and asks',
    'providers remove acme',
    'providers remove acme --yes',
  )
    .option('--yes', 'do not ask')
    .option(
      '--end-sessions',
      'sign out who came by it, within seconds; left out: they stay until their time is over',
    )
    .action((slug: string, flags: Common & { yes?: boolean; endSessions?: boolean }) =>
      withWorkbench(async ({ sso, by }) => {
        const { portal, endSessions } = flags
        const { counts, sentence, sessions } = await dependents(sso, slug, portal)
        const question = `${sentence} ${sessions} Remove ${slug}?`
        if (!flags.yes && !(await confirm(question, { flag: '--yes' }))) return console.log(`${slug} stays`)
        const how = { portal, by, endSessions }
        await sso.providers.remove(slug, how)
        const back = `\`portal-sso providers restore ${slug}${on(portal)}\` brings it back.`
        say(flags, { slug, removed: true, ...counts }, `${slug} is removed. ${back}`)
      }),
    )

  verb(providers, 'restore <slug>', 'bring a removed one back, disabled', 'providers restore acme').action(
    (slug: string, flags: Common) =>
      withWorkbench(async ({ sso, by }) => {
        await sso.providers.restore(slug, { portal: flags.portal, by })
        say(flags, { slug, restored: true }, `${slug} is back, disabled`)
      }),
  )

  verb(providers, 'removed', 'what was removed and can be restored', 'providers removed').action(
    (flags: Common) =>
      withWorkbench(async ({ sso }) => {
        const all = await sso.providers.removed(flags.portal)
        if (flags.json) return printJson(all)
        if (all.length === 0) return console.log('Nothing can be restored.')
        printTable(
          ['SLUG', 'NAME', 'REMOVED'],
          all.map(({ slug, displayName, removedAt }) => [slug, displayName, removedAt]),
        )
      }),
  )
}
