import type { Command } from 'commander'
import type { PortalSso } from '../../create-portal-sso.ts'
import { type Common, on, parseDate, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { printResult } from '../output.ts'
import { confirm } from '../prompt.ts'
import { sessionsThat } from '../sessions-command.ts'

/** How many users depend on this provider, and how many sessions started with it. */
export async function dependents({ providers, sessions }: PortalSso, slug: string, portal: string) {
  const [who, running] = await Promise.all([
    providers.usage(slug, { portal }),
    sessions.count({ provider: slug, portal }),
  ])
  const { people, onlyWayIn } = who
  const signedIn = people === 1 ? '1 person has' : `${people} people have`
  return {
    counts: { ...who, sessions: running },
    sentence: `${signedIn} signed in with it, ${onlyWayIn} of them have no other sign-in method.`,
    sessions: `${sessionsThat(running)} started with it.`,
  }
}

/** Commands that retire, remove and restore a provider. */
export function addRemoveCommands(providers: Command): void {
  subcommand(
    providers,
    'retire <slug>',
    'schedule removal from the login page',
    'providers retire acme --at 2027-01-31',
  )
    .requiredOption('--at <date>', 'such as 2027-01-31, or 2027-01-31T18:00:00Z')
    .action((slug: string, flags: Common & { at: string }) =>
      withSsoContext(async ({ sso, actor }) => {
        const at = parseDate(flags.at, '--at')
        const { portal } = flags
        const { counts, sentence } = await dependents(sso, slug, portal)
        await sso.providers.retire(slug, at, { portal, actor })
        const until = at.toISOString()
        const back = `Run \`portal-sso providers cancel-retirement ${slug}${on(portal)}\` to cancel.`
        printResult(
          flags,
          { slug, retireAt: until, ...counts },
          `${slug} retires on ${until}. ${sentence} ${back}`,
        )
      }),
    )

  subcommand(
    providers,
    'cancel-retirement <slug>',
    'cancel a scheduled retirement',
    'providers cancel-retirement acme',
  ).action((slug: string, flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.cancelRetirement(slug, { portal: flags.portal, actor })
      printResult(flags, { slug, retireAt: null }, `${slug} stays enabled`)
    }),
  )

  subcommand(
    providers,
    'remove <slug>',
    'remove a provider, and delete it after 30 days; users and links stay; shows how many people have no other sign-in method, and asks',
    'providers remove acme',
    'providers remove acme --yes',
  )
    .option('--yes', 'do not ask')
    .option(
      '--end-sessions',
      'sign out users who signed in with it; default: they stay signed in until their sessions expire',
    )
    .action((slug: string, flags: Common & { yes?: boolean; endSessions?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, endSessions } = flags
        const { counts, sentence, sessions } = await dependents(sso, slug, portal)
        const question = `${sentence} ${sessions} Remove ${slug}?`
        if (!flags.yes && !(await confirm(question, { flag: '--yes' })))
          return console.log(`${slug} was not removed`)
        const how = { portal, actor, endSessions }
        await sso.providers.remove(slug, how)
        const back = `Run \`portal-sso providers restore ${slug}${on(portal)}\` to restore it.`
        printResult(flags, { slug, removed: true, ...counts }, `${slug} is removed. ${back}`)
      }),
    )

  subcommand(
    providers,
    'restore <slug>',
    'restore a removed provider, disabled',
    'providers restore acme',
  ).action((slug: string, flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.restore(slug, { portal: flags.portal, actor })
      printResult(flags, { slug, restored: true }, `${slug} is restored. It is disabled.`)
    }),
  )
}
