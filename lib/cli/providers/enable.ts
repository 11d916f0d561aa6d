import type { Command } from 'commander'
import { ConfigurationError } from '../../shared/errors.ts'
import { type CommonFlags, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { printResult } from '../output.ts'
import { describeUsage } from './remove.ts'

/** Adds the commands that change what the login page shows. */
export function addEnableCommands(providers: Command): void {
  addEnable(providers)
  addDisable(providers)
  addRecommend(providers)
  addReorder(providers)
}

function addEnable(providers: Command): void {
  subcommand(
    providers,
    'enable <slug>',
    'show a provider on the login page, after a passed test sign-in',
    'providers enable acme',
  )
    .option('--without-test-sign-in', 'enable without a test sign-in (logged)')
    .action((slug: string, flags: CommonFlags & { withoutTestSignIn?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, withoutTestSignIn } = flags
        await sso.providers.enable(slug, { portal, actor, withoutTestSignIn })
        printResult(flags, { slug, enabled: true }, `${slug} is enabled. It is now on the login page.`)
      }),
    )
}

function addDisable(providers: Command): void {
  subcommand(
    providers,
    'disable <slug>',
    'remove a provider from the login page; shows how many people have no other sign-in method',
    'providers disable acme',
    'providers disable acme --end-sessions',
  )
    .option(
      '--end-sessions',
      'sign out users who signed in with it; default: they stay signed in until their sessions expire',
    )
    .action((slug: string, flags: CommonFlags & { endSessions?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, endSessions } = flags
        const usage = await describeUsage(sso, slug, portal)
        await sso.providers.disable(slug, { portal, actor, endSessions })
        const sessions = endSessions ? 'Its sessions have ended.' : usage.sessions
        printResult(
          flags,
          { slug, enabled: false, ...usage.counts },
          `${slug} is disabled. Nobody can sign in with it now. ${usage.people} ${sessions}`,
        )
      }),
    )
}

function addRecommend(providers: Command): void {
  subcommand(
    providers,
    'recommend [slug]',
    'show a provider first, with a badge',
    'providers recommend acme',
    'providers recommend --none',
  )
    .option('--none', 'recommend no provider')
    .action((slug: string | undefined, flags: CommonFlags & { none?: boolean }) =>
      withSsoContext((context) => recommend(context, slug, flags)),
    )
}

async function recommend(
  { sso, actor }: SsoContext,
  slug: string | undefined,
  flags: CommonFlags & { none?: boolean },
): Promise<void> {
  if ((slug === undefined) !== (flags.none === true)) throw new ConfigurationError('give one slug, or --none')
  const options = { portal: flags.portal, actor }
  if (slug === undefined) await sso.providers.clearRecommended(options)
  else await sso.providers.recommend(slug, options)
  const sentence = slug === undefined ? 'No provider is recommended now' : `${slug} is recommended`
  printResult(flags, { recommended: slug ?? null }, sentence)
}

function addReorder(providers: Command): void {
  subcommand(
    providers,
    'reorder <slugs...>',
    'set the order on the login page; all other providers come last',
    'providers reorder acme google',
  ).action((slugs: string[], flags: CommonFlags) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.reorder(slugs, { portal: flags.portal, actor })
      const order = (await sso.providers.list({ portal: flags.portal })).map(({ slug }) => slug)
      printResult(flags, { order }, `The order is ${order.join(', ')} (a recommended provider comes first)`)
    }),
  )
}
