import { count } from '../../admin/format.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { type CommandContext, type PortalCommands, parseDate, suggest } from '../command.ts'
import { confirm } from '../input.ts'

type EndContext = CommandContext<{ endSessions?: boolean; yes?: boolean }>

const endSessions = {
  '--end-sessions':
    'sign out users who signed in with it; default: they stay signed in until their sessions expire',
}

/** The commands that change what the login page shows, and that remove a provider, now or later. */
export const lifecycleCommands: PortalCommands = {
  'enable <slug>': {
    description: 'show a provider on the login page, after a passed test sign-in',
    examples: ['providers enable acme'],
    options: { '--without-test-sign-in': 'enable without a test sign-in (logged)' },
    async run({ providers, actor, flags }: CommandContext<{ withoutTestSignIn?: boolean }>, slug: string) {
      await providers.enable(slug, { actor, withoutTestSignIn: flags.withoutTestSignIn })
      return { json: { slug, enabled: true }, text: `${slug} is enabled. It is now on the login page.` }
    },
  },
  'disable <slug>': {
    description: 'remove a provider from the login page; shows how many people have no other sign-in method',
    examples: ['providers disable acme', 'providers disable acme --end-sessions'],
    options: endSessions,
    async run(context: EndContext, slug: string) {
      const { providers, actor, flags } = context
      const usage = await describeUsage(context, slug)
      await providers.disable(slug, { actor, endSessions: flags.endSessions })
      const sessions = flags.endSessions ? 'Its sessions have ended.' : usage.sessions
      const text = `${slug} is disabled. Nobody can sign in with it now. ${usage.people} ${sessions}`
      return { json: { slug, enabled: false, ...usage.counts }, text }
    },
  },
  'recommend [slug]': {
    description: 'show a provider first, with a badge',
    examples: ['providers recommend acme', 'providers recommend --none'],
    options: { '--none': 'recommend no provider' },
    async run({ providers, actor, flags }: CommandContext<{ none?: boolean }>, slug: string | undefined) {
      if ((slug === undefined) !== (flags.none === true))
        throw new ConfigurationError('give one slug, or --none')
      if (slug === undefined) await providers.clearRecommended({ actor })
      else await providers.recommend(slug, { actor })
      const text = slug === undefined ? 'No provider is recommended now' : `${slug} is recommended`
      return { json: { recommended: slug ?? null }, text }
    },
  },
  'reorder <slugs...>': {
    description: 'set the order on the login page; all other providers come last',
    examples: ['providers reorder acme google'],
    async run({ providers, actor }, slugs: string[]) {
      await providers.reorder(slugs, { actor })
      const order = (await providers.list()).map(({ slug }) => slug)
      const text = `The order is ${order.join(', ')} (a recommended provider comes first)`
      return { json: { order }, text }
    },
  },
  'retire <slug>': {
    description: 'schedule removal from the login page',
    examples: ['providers retire acme --at 2027-01-31'],
    requiredOptions: { '--at <date>': 'such as 2027-01-31, or 2027-01-31T18:00:00Z' },
    async run(context: CommandContext<{ at: string }>, slug: string) {
      const { providers, actor, flags } = context
      const at = parseDate(flags.at, '--at')
      const { counts, people } = await describeUsage(context, slug)
      await providers.retire(slug, at, { actor })
      const retireAt = at.toISOString()
      const undo = `Run \`${suggest(`providers cancel-retirement ${slug}`, flags)}\` to cancel.`
      const text = `${slug} retires on ${retireAt}. ${people} ${undo}`
      return { json: { slug, retireAt, ...counts }, text }
    },
  },
  'cancel-retirement <slug>': {
    description: 'cancel a scheduled retirement',
    examples: ['providers cancel-retirement acme'],
    async run({ providers, actor }, slug: string) {
      await providers.cancelRetirement(slug, { actor })
      return { json: { slug, retireAt: null }, text: `${slug} stays enabled` }
    },
  },
  'remove <slug>': {
    description:
      'remove a provider, and delete it after 30 days; users and links stay; shows how many people have no other sign-in method, and asks',
    examples: ['providers remove acme', 'providers remove acme --yes'],
    options: { '--yes': 'do not ask', ...endSessions },
    async run(context: EndContext, slug: string) {
      const { providers, actor, flags } = context
      const { counts, people, sessions } = await describeUsage(context, slug)
      if (!flags.yes && !(await confirm(`${people} ${sessions} Remove ${slug}?`, { flag: '--yes' })))
        return { json: { slug, removed: false }, text: `${slug} was not removed` }
      await providers.remove(slug, { actor, endSessions: flags.endSessions })
      const undo = `Run \`${suggest(`providers restore ${slug}`, flags)}\` to restore it.`
      return { json: { slug, removed: true, ...counts }, text: `${slug} is removed. ${undo}` }
    },
  },
  'restore <slug>': {
    description: 'restore a removed provider, disabled',
    examples: ['providers restore acme'],
    async run({ providers, actor }, slug: string) {
      await providers.restore(slug, { actor })
      return { json: { slug, restored: true }, text: `${slug} is restored. It is disabled.` }
    },
  },
}

async function describeUsage({ providers, sessions }: CommandContext, slug: string) {
  const [usage, active] = await Promise.all([providers.usage(slug), sessions.count({ provider: slug })])
  const have = count(usage.people, 'person has', 'people have')
  return {
    counts: { ...usage, sessions: active },
    people: `${have} signed in with it, ${usage.withoutAlternative} of them have no other sign-in method.`,
    sessions: `${count(active, 'active session', 'active sessions')} started with it.`,
  }
}
