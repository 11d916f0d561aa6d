import { Argument, type Command, Option } from 'commander'
import type { ProviderInput } from '../../management/provider-input.ts'
import type { Preset } from '../../providers/presets/preset.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../../providers/provider.ts'
import { type ProviderSettings, settings as settingsTable } from '../../providers/settings.ts'
import { ConfigurationError, ManagementError } from '../../shared/errors.ts'
import { type Common, on, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printCheck, printResult, progress } from '../output.ts'
import { ask, atTerminal, confirm, type Read } from '../prompt.ts'
import { addSettingFlags, type Flags, settingsFrom, withFlagNames } from './flags.ts'
import { printUrls, urlsOf } from './list.ts'
import { testSignIn } from './test-sign-in.ts'

export interface QuestionFlags extends Common, Flags {
  slug?: string
  issuer?: string
  clientId?: string
}

export type Answers = Pick<ProviderInput, 'issuer' | 'answers' | 'clientId' | 'clientSecret'>

/** An option for every preset question that is not already the option of a setting. */
export function questionFlags(command: Command): Option[] {
  const taken = new Set(command.options.map(({ long }) => long))
  const uses = new Map<string, string[]>()
  for (const { name: preset, asks } of presets)
    for (const { name, label } of asks) uses.set(name, [...(uses.get(name) ?? []), `${preset}: ${label}`])
  return [...uses]
    .filter(([name]) => !taken.has(`--${name}`))
    .map(([name, labels]) => new Option(`--${name} <text>`, labels.join('; ')))
}

export async function askSlug({ sso }: SsoContext, preset: Preset, portal: string): Promise<string> {
  const proposed = preset.name === 'generic' ? undefined : preset.name
  // A script uses the proposal; `connect` refuses a slug that is taken.
  if (proposed && !atTerminal()) return proposed
  const free = async (slug: string) => !(await sso.providers.find(slug, { portal }))
  // Reusing the slug of a removed provider deletes that one, so it must be typed.
  const removed = (await sso.providers.listRemoved({ portal })).map(({ slug }) => slug)
  return await ask({
    question: 'Name in URLs (slug)',
    flag: '--slug',
    example: proposed ? undefined : 'acme',
    otherwise: proposed && (await free(proposed)) && !removed.includes(proposed) ? proposed : undefined,
    async read(answer) {
      const read = reading(slugSchema, answer)
      if ('wrong' in read || (await free(read.answer))) return read
      return { wrong: `"${answer}" is already connected. Choose another name` }
    },
  })
}

/**
 * Required values, from options or questions.
 *
 * @param before previous answers, which an empty answer keeps
 */
export async function answer(
  preset: Preset,
  flags: QuestionFlags,
  settings: Partial<ProviderSettings>,
  before: Answers = {},
): Promise<Answers> {
  const clientAuthentication = settings.clientAuthentication ?? preset.defaults.clientAuthentication
  return {
    ...(await askLocation(preset, flags, before)),
    clientId:
      flags.clientId ??
      (await ask({ question: 'Client ID', flag: '--client-id', otherwise: before.clientId ?? undefined })),
    ...(await askSecret(settings, clientAuthentication, before)),
  }
}

/** The issuer, or the answers from which the preset builds it. */
async function askLocation(preset: Preset, flags: QuestionFlags, before: Answers): Promise<Answers> {
  const given = givenAnswers(flags)
  // The issuer replaces the questions. Answers that are given anyway are validated with it.
  if (flags.issuer !== undefined)
    return { issuer: flags.issuer, ...(Object.keys(given).length > 0 && { answers: given }) }
  if (!preset.settings) return { issuer: await askIssuer(before.issuer ?? undefined) }
  const answers: Record<string, string> = { ...given }
  for (const { name, label, hint, example, required = true, read } of preset.asks) {
    if (name in given || (!required && !atTerminal())) continue
    const otherwise = before.answers?.[name] ?? (required ? undefined : '')
    answers[name] = await ask({ question: label, flag: `--${name}`, hint, example, read, otherwise })
  }
  return { answers }
}

/** Answers to questions of any preset: `connect` reports those that this preset does not ask. */
function givenAnswers(flags: QuestionFlags): Record<string, string> {
  const given = presets
    .flatMap(({ asks }) => asks)
    .map(({ name }) => [name, flags[new Option(`--${name} <text>`).attributeName()]] as const)
  return Object.fromEntries(given.filter((pair): pair is [string, string] => typeof pair[1] === 'string'))
}

async function askIssuer(otherwise: string | undefined): Promise<string> {
  return await ask({
    question: 'Issuer',
    flag: '--issuer',
    example: 'https://id.acme.com',
    otherwise,
    read: (given) => reading(settingsTable.issuer.schema, given),
  })
}

async function askSecret(
  settings: Partial<ProviderSettings>,
  clientAuthentication: string | undefined,
  before: Answers,
): Promise<Answers> {
  const needsNone = clientAuthentication === 'none' || clientAuthentication === 'private_key_jwt'
  if (settings.clientSecret !== undefined || settings.clientSecretReference !== undefined || needsNone)
    return {}
  const clientSecret =
    process.env.PORTAL_SSO_CLIENT_SECRET ||
    (await ask({
      question: 'Client secret',
      flag: '--client-secret-file (or --public for a client without one)',
      hidden: true,
      otherwise: before.clientSecret ?? undefined,
    }))
  return { clientSecret }
}

type Schema = { safeParse(value: string): { data?: string; error?: { issues: { message: string }[] } } }

function reading(schema: Schema, given: string): Read {
  const { data, error } = schema.safeParse(given)
  return data === undefined
    ? { wrong: error?.issues[0]?.message ?? 'this value is not valid' }
    : { answer: data }
}

interface AddFlags extends QuestionFlags {
  disabled?: boolean
  withoutTestSignIn?: boolean
}

export function addAdd(providers: Command): void {
  const command = subcommand(
    providers,
    'add',
    'connect a provider: check, discover, test and save it; then test a sign-in and enable it',
    'providers add',
    'providers add entra --tenant <GUID> --client-id <GUID> --client-secret-file secret.txt',
    'providers add --slug acme --issuer https://id.acme.com --client-id portal --without-test-sign-in',
  )
    .addArgument(
      new Argument('[preset]', 'provider type').choices(presets.map(({ name }) => name)).default('generic'),
    )
    .option('--slug <slug>', 'name in URLs: /login/<slug>')
  addSettingFlags(command)
    .option('--disabled', 'only save it as a draft')
    .option('--without-test-sign-in', 'enable without a test sign-in (logged)')
    .addHelpText(
      'after',
      `
You are asked for missing values. The client secret is never an argument: you are asked for it, or it is read from
--client-secret-file or PORTAL_SSO_CLIENT_SECRET. Without a terminal the provider stays a draft unless you give --without-test-sign-in.`,
    )
  for (const option of questionFlags(command)) command.addOption(option)
  command.action((preset: string, flags: AddFlags) =>
    withSsoContext((context) => add(context, presetOf(preset) as Preset, flags)),
  )
}

async function add(context: SsoContext, preset: Preset, flags: AddFlags): Promise<void> {
  const { sso } = context
  const { portal } = flags
  const interactive = isInteractive(flags)
  if (interactive) introduce(preset)
  const settings = await settingsFrom(flags)
  const slug = flags.slug ?? (await askSlug(context, preset, portal))
  const clientAuthentication = settings.clientAuthentication ?? preset.defaults.clientAuthentication
  // Before the questions: the provider's console asks for these URLs first, and then shows a client ID.
  if (!flags.json) printUrls(urlsOf(context, { slug, portal, preset: preset.name, clientAuthentication }))
  const enabled = flags.withoutTestSignIn === true && !flags.disabled
  const input = { ...settings, slug, preset: preset.name, enabled }
  const ask = (before?: Answers) => answer(preset, flags, settings, before)
  await connect(context, input, ask, flags)
  const provider = (await sso.providers.find(slug, { portal })) as Provider
  if (!flags.json) provider.lastTest?.checks.forEach(printCheck)
  const offered = interactive && !enabled && !flags.disabled && (await offerTestSignIn(context, slug, flags))
  conclude(context, { ...provider, enabled: enabled || offered }, flags)
}

const isInteractive = ({ json }: Common) => atTerminal() && !json

function introduce({ displayName, hints, guide }: Preset): void {
  print(`${displayName}. The guide is docs/providers/${guide} in this package.`)
  for (const hint of hints) print(`  ${hint}`)
}

/** A script tries once; at a terminal the answers can be corrected. */
async function connect(
  { sso, actor }: SsoContext,
  input: ProviderInput,
  ask: (before?: Answers) => Promise<Answers>,
  flags: AddFlags,
): Promise<void> {
  const interactive = isInteractive(flags)
  for (let answers = await ask(); ; answers = await ask(answers)) {
    progress(flags, 'Testing the provider …')
    try {
      await withFlagNames(sso.providers.connect({ ...input, ...answers }, { portal: flags.portal, actor }))
      return
    } catch (error) {
      if (!interactive || !(error instanceof ManagementError)) throw error
      print(`  ✗ ${error.message}`)
      if (!(await confirm('Change your answers and try again?', { flag: '--slug', otherwise: 'yes' })))
        throw new ConfigurationError('no provider was connected')
    }
  }
}

/** @returns whether it is on the login page now */
async function offerTestSignIn(context: SsoContext, slug: string, flags: AddFlags): Promise<boolean> {
  const { sso, actor } = context
  const stopped = `stopped; ${slug} is connected, but not enabled yet`
  const question = 'Test a sign-in now, and enable the provider if it passes?'
  if (!(await confirm(question, { flag: '--disabled', stopped, otherwise: 'yes' }))) return false
  const outcome = await testSignIn(context, slug, flags)
  if (outcome === 'passed') await sso.providers.enable(slug, { portal: flags.portal, actor })
  return outcome === 'passed'
}

function conclude(context: SsoContext, provider: Provider, flags: AddFlags): void {
  const { slug, enabled } = provider
  const next = ['test-sign-in', 'enable'].map(
    (name) => `portal-sso providers ${name} ${slug}${on(flags.portal)}`,
  )
  printResult(
    flags,
    { provider, urls: urlsOf(context, provider), ...(!enabled && { next }) },
    enabled
      ? `${slug} is connected and on the login page.`
      : `${slug} is connected, but not enabled yet. Next, run \`${next[0]}\`, then \`${next[1]}\`.`,
  )
}
