import { Argument, type Command } from 'commander'
import { ConfigurationError } from '../../errors.ts'
import type { Preset } from '../../providers/presets/preset.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import type { ProviderInput } from '../../providers/provider-input.ts'
import { atTerminal, confirm } from '../ask.ts'
import { type Workbench, withWorkbench } from '../environment.ts'
import { print, printCheck, progress, say } from '../print.ts'
import { on, verb } from '../verb.ts'
import { printUrls, urlsOf } from './describe.ts'
import { type Answers, answer, askSlug, type QuestionFlags, questionFlags } from './questions.ts'
import { rehearse } from './rehearse.ts'
import { addSettingFlags, inFlags, settingsFrom } from './setting-flags.ts'

interface AddFlags extends QuestionFlags {
  disabled?: boolean
  withoutRehearsal?: boolean
}

export function addAdd(providers: Command): void {
  const command = verb(
    providers,
    'add',
    'connect a provider: check, discover, test, save; then rehearse a sign-in, and enable',
    'providers add',
    'providers add entra --tenant <GUID> --client-id <GUID> --client-secret-file secret.txt',
    'providers add --slug acme --issuer https://id.acme.com --client-id portal --without-rehearsal',
  )
    .addArgument(
      new Argument('[preset]', 'what to start from')
        .choices(presets.map(({ name }) => name))
        .default('generic'),
    )
    .option('--slug <slug>', 'name in addresses: /login/<slug>')
  addSettingFlags(command)
    .option('--disabled', 'connect it as a draft, and leave it at that')
    .option('--without-rehearsal', 'enable it at once, though nobody has come in with it yet; recorded')
    .addHelpText(
      'after',
      `
What is left out is asked for. The client secret is never given in the arguments: it is asked for, or read from
--client-secret-file or PORTAL_SSO_CLIENT_SECRET. Without a terminal it stays a draft unless --without-rehearsal is given.`,
    )
  for (const option of questionFlags(command)) command.addOption(option)
  command.action((preset: string, flags: AddFlags) =>
    withWorkbench((workbench) => add(workbench, presetOf(preset) as Preset, flags)),
  )
}

async function add(workbench: Workbench, preset: Preset, flags: AddFlags): Promise<void> {
  const { sso } = workbench
  const { portal } = flags
  const person = atTerminal() && !flags.json
  if (person) introduce(preset)
  const settings = settingsFrom(flags)
  const slug = flags.slug ?? (await askSlug(workbench, preset, portal))
  const clientAuthentication = settings.clientAuthentication ?? preset.defaults.clientAuthentication
  // Before the questions: the provider's console asks for these, and only then gives a client id.
  if (!flags.json) printUrls(urlsOf(workbench, { slug, portal, preset: preset.name, clientAuthentication }))
  const enabled = flags.withoutRehearsal === true && !flags.disabled
  const input = { ...settings, slug, preset: preset.name, portal, enabled }
  const ask = (before?: Answers) => answer(preset, flags, clientAuthentication, before)
  await connect(workbench, input, ask, person, flags)
  const provider = (await sso.providers.find(slug, portal)) as Provider
  if (!flags.json) provider.tested?.checks.forEach(printCheck)
  const offered = person && !enabled && !flags.disabled && (await offerRehearsal(workbench, slug, flags))
  conclude(workbench, { ...provider, enabled: enabled || offered }, flags)
}

function introduce({ displayName, hints, guide }: Preset): void {
  print(`${displayName}. The guide is docs/providers/${guide} of this package.`)
  for (const hint of hints) print(`  ${hint}`)
}

/** Once for a script; a person may go through the answers again. */
async function connect(
  { sso, by }: Workbench,
  input: ProviderInput,
  ask: (before?: Answers) => Promise<Answers>,
  person: boolean,
  flags: AddFlags,
): Promise<void> {
  for (let answers = await ask(); ; answers = await ask(answers)) {
    progress(flags, 'Testing the provider …')
    try {
      await inFlags(sso.providers.connect({ ...input, ...answers }, by))
      return
    } catch (error) {
      if (!person || !(error instanceof ConfigurationError)) throw error
      print(`  ✗ ${error.message}`)
      if (!(await confirm('Go through the answers again?', { flag: '--slug', otherwise: 'yes' })))
        throw new ConfigurationError('nothing is connected')
    }
  }
}

/** @returns whether it is on the login page now */
async function offerRehearsal(workbench: Workbench, slug: string, flags: AddFlags): Promise<boolean> {
  const { sso, by } = workbench
  const stopped = `stopped; ${slug} is connected, not enabled yet`
  const question = 'Rehearse a sign-in now, and enable it when that passes?'
  if (!(await confirm(question, { flag: '--disabled', stopped, otherwise: 'yes' }))) return false
  const outcome = await rehearse(workbench, slug, flags)
  if (outcome === 'passed') await sso.providers.enable(slug, { portal: flags.portal, by })
  return outcome === 'passed'
}

function conclude(workbench: Workbench, provider: Provider, flags: AddFlags): void {
  const { slug, enabled } = provider
  const next = ['rehearse', 'enable'].map((name) => `portal-sso providers ${name} ${slug}${on(flags.portal)}`)
  say(
    flags,
    { provider, urls: urlsOf(workbench, provider), ...(!enabled && { next }) },
    enabled
      ? `${slug} is connected and on the login page.`
      : `${slug} is connected, not enabled yet. Go on with \`${next[0]}\`, then \`${next[1]}\`.`,
  )
}
