import type { Command } from 'commander'
import { count } from '../../admin/format.ts'
import type { PortalSso } from '../../portal-sso.ts'
import { type CommonFlags, parseDate, portalFlag, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { printResult } from '../output.ts'
import { confirm } from '../prompt.ts'

interface RemoveFlags extends CommonFlags {
  yes?: boolean
  endSessions?: boolean
}

/** Adds the commands that remove a provider, now or later, and those that undo it. */
export function addRemoveCommands(providers: Command): void {
  addRetire(providers)
  addCancelRetirement(providers)
  addRemove(providers)
  addRestore(providers)
}

/** Describes how many people and sessions depend on a provider. */
export async function describeUsage({ providers, sessions }: PortalSso, slug: string, portal: string) {
  const [usage, active] = await Promise.all([
    providers.usage(slug, { portal }),
    sessions.count({ provider: slug }, { portal }),
  ])
  const have = count(usage.people, 'person has', 'people have')
  return {
    counts: { ...usage, sessions: active },
    people: `${have} signed in with it, ${usage.withoutAlternative} of them have no other sign-in method.`,
    sessions: `${count(active, 'active session', 'active sessions')} started with it.`,
  }
}

function addRetire(providers: Command): void {
  subcommand(
    providers,
    'retire <slug>',
    'schedule removal from the login page',
    'providers retire acme --at 2027-01-31',
  )
    .requiredOption('--at <date>', 'such as 2027-01-31, or 2027-01-31T18:00:00Z')
    .action((slug: string, flags: CommonFlags & { at: string }) =>
      withSsoContext(async ({ sso, actor }) => {
        const at = parseDate(flags.at, '--at')
        const { portal } = flags
        const { counts, people } = await describeUsage(sso, slug, portal)
        await sso.providers.retire(slug, at, { portal, actor })
        const retireAt = at.toISOString()
        const undo = `Run \`portal-sso providers cancel-retirement ${slug}${portalFlag(portal)}\` to cancel.`
        printResult(flags, { slug, retireAt, ...counts }, `${slug} retires on ${retireAt}. ${people} ${undo}`)
      }),
    )
}

function addCancelRetirement(providers: Command): void {
  subcommand(
    providers,
    'cancel-retirement <slug>',
    'cancel a scheduled retirement',
    'providers cancel-retirement acme',
  ).action((slug: string, flags: CommonFlags) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.cancelRetirement(slug, { portal: flags.portal, actor })
      printResult(flags, { slug, retireAt: null }, `${slug} stays enabled`)
    }),
  )
}

function addRemove(providers: Command): void {
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
    .action((slug: string, flags: RemoveFlags) =>
      withSsoContext((context) => removeProvider(context, slug, flags)),
    )
}

async function removeProvider({ sso, actor }: SsoContext, slug: string, flags: RemoveFlags): Promise<void> {
  const { portal, endSessions } = flags
  const { counts, people, sessions } = await describeUsage(sso, slug, portal)
  const question = `${people} ${sessions} Remove ${slug}?`
  if (!flags.yes && !(await confirm(question, { flag: '--yes' })))
    return printResult(flags, { slug, removed: false }, `${slug} was not removed`)
  await sso.providers.remove(slug, { portal, actor, endSessions })
  const undo = `Run \`portal-sso providers restore ${slug}${portalFlag(portal)}\` to restore it.`
  printResult(flags, { slug, removed: true, ...counts }, `${slug} is removed. ${undo}`)
}

function addRestore(providers: Command): void {
  subcommand(
    providers,
    'restore <slug>',
    'restore a removed provider, disabled',
    'providers restore acme',
  ).action((slug: string, flags: CommonFlags) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.restore(slug, { portal: flags.portal, actor })
      printResult(flags, { slug, restored: true }, `${slug} is restored. It is disabled.`)
    }),
  )
}
