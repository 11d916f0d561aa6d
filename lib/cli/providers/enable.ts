import type { Command } from 'commander'
import { ConfigurationError } from '../../shared/errors.ts'
import { type Common, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { printResult } from '../output.ts'
import { dependents } from './remove.ts'

/** Commands that change whether and where a provider is on the login page. */
export function addEnableCommands(providers: Command): void {
  subcommand(
    providers,
    'enable <slug>',
    'show a provider on the login page, after a passed test sign-in',
    'providers enable acme',
  )
    .option('--without-test-sign-in', 'enable without a test sign-in (logged)')
    .action((slug: string, flags: Common & { withoutTestSignIn?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, withoutTestSignIn } = flags
        await sso.providers.enable(slug, { portal, actor, withoutTestSignIn })
        printResult(flags, { slug, enabled: true }, `${slug} is enabled. It is now on the login page.`)
      }),
    )

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
    .action((slug: string, flags: Common & { endSessions?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, endSessions } = flags
        const { counts, sentence, sessions } = await dependents(sso, slug, portal)
        const how = { portal, actor, endSessions }
        await sso.providers.disable(slug, how)
        printResult(
          flags,
          { slug, enabled: false, ...counts },
          `${slug} is disabled. Nobody can sign in with it now. ${sentence} ${endSessions ? 'Its sessions have ended.' : sessions}`,
        )
      }),
    )

  subcommand(
    providers,
    'recommend [slug]',
    'show a provider first, with a badge',
    'providers recommend acme',
    'providers recommend --none',
  )
    .option('--none', 'recommend no provider')
    .action((slug: string | undefined, flags: Common & { none?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        if ((slug === undefined) !== (flags.none === true))
          throw new ConfigurationError('give one slug, or --none')
        const options = { portal: flags.portal, actor }
        if (slug === undefined) await sso.providers.clearRecommended(options)
        else await sso.providers.recommend(slug, options)
        const sentence = slug === undefined ? 'No provider is recommended now' : `${slug} is recommended`
        printResult(flags, { recommended: slug ?? null }, sentence)
      }),
    )

  subcommand(
    providers,
    'reorder <slugs...>',
    'set the order on the login page; all other providers come last',
    'providers reorder acme google',
  ).action((slugs: string[], flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.reorder(slugs, { portal: flags.portal, actor })
      const order = (await sso.providers.list({ portal: flags.portal })).map(({ slug }) => slug)
      printResult(flags, { order }, `The order is ${order.join(', ')} (a recommended provider comes first)`)
    }),
  )
}
