import type { Command } from 'commander'
import { ConfigurationError } from '../../shared/errors.ts'
import { type Common, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { printResult } from '../output.ts'
import { dependents } from './remove.ts'

/** Whether and where a provider stands on the login page. */
export function addEnableCommands(providers: Command): void {
  subcommand(
    providers,
    'enable <slug>',
    'show it on the login page, after a rehearsal that passed',
    'providers enable acme',
  )
    .option('--without-rehearsal', 'though nobody has come in with it yet; recorded as such')
    .action((slug: string, flags: Common & { withoutRehearsal?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal, withoutRehearsal } = flags
        await sso.providers.enable(slug, { portal, actor, withoutRehearsal })
        printResult(flags, { slug, enabled: true }, `${slug} is enabled; it is on the login page from now on`)
      }),
    )

  subcommand(
    providers,
    'disable <slug>',
    'take it off the login page; says how many people have only this way in',
    'providers disable acme',
    'providers disable acme --end-sessions',
  )
    .option(
      '--end-sessions',
      'sign out who came by it, within seconds; left out: they stay until their time is over',
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
          `${slug} is disabled; nobody can sign in with it from now on. ${sentence} ${endSessions ? 'Its sessions have ended.' : sessions}`,
        )
      }),
    )

  subcommand(
    providers,
    'recommend [slug]',
    'show it first, with a badge',
    'providers recommend acme',
    'providers recommend --none',
  )
    .option('--none', 'recommend nobody any more')
    .action((slug: string | undefined, flags: Common & { none?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        if ((slug === undefined) !== (flags.none === true))
          throw new ConfigurationError('give the name of one provider, or --none')
        await sso.providers.recommend(slug, { portal: flags.portal, actor })
        const sentence = slug === undefined ? 'No provider is recommended any more' : `${slug} is recommended`
        printResult(flags, { recommended: slug ?? null }, sentence)
      }),
    )

  subcommand(
    providers,
    'reorder <slugs...>',
    'their order on the login page; the others come after them',
    'providers reorder acme google',
  ).action((slugs: string[], flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      await sso.providers.reorder(slugs, { portal: flags.portal, actor })
      const order = (await sso.providers.list(flags.portal)).map(({ slug }) => slug)
      printResult(flags, { order }, `The order is ${order.join(', ')} (a recommended one comes first)`)
    }),
  )
}
