import { Argument, type Command, Option } from 'commander'
import type { ProviderInput } from '../../management/provider-input.ts'
import type { Preset } from '../../providers/presets/preset.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../../providers/provider.ts'
import { type ProviderSettings, settings as settingsTable } from '../../providers/settings.ts'
import { ConfigurationError, ManagementError } from '../../shared/errors.ts'
import { type CommonFlags, portalFlag, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printCheck, printProgress, printResult } from '../output.ts'
import { ask, atTerminal, confirm, type ReadResult } from '../prompt.ts'
import { addSettingFlags, type Flags, readSettings, withFlagNames } from './flags.ts'
import { printUrls, providerUrls } from './list.ts'
import { testSignIn } from './test-sign-in.ts'

interface QuestionFlags extends CommonFlags, Flags {
  slug?: string
  issuer?: string
  clientId?: string
}

type Answers = Pick<ProviderInput, 'issuer' | 'answers' | 'clientId' | 'clientSecret'>

/** An option for every preset question that has none among the settings. */
function questionFlags(command: Command): Option[] {
  const existing = new Set(command.options.map(({ long }) => long))
  const uses = new Map<string, string[]>()
  for (const { name: preset, asks } of presets)
    for (const { name, label } of asks) uses.set(name, [...(uses.get(name) ?? []), `${preset}: ${label}`])
  return [...uses]
    .filter(([name]) => !existing.has(`--${name}`))
    .map(([name, labels]) => new Option(`--${name} <text>`, labels.join('; ')))
}

async function askSlug({ sso }: SsoContext, preset: Preset, portal: string): Promise<string> {
  const suggested = preset.name === 'generic' ? undefined : preset.name
  // A script uses the suggestion; `connect` refuses a slug that is already connected.
  if (suggested && !atTerminal()) return suggested
  const isFree = async (slug: string) => !(await sso.providers.find(slug, { portal }))
  // Reusing the slug of a removed provider deletes that provider, so never suggest it.
  const removed = (await sso.providers.listRemoved({ portal })).map(({ slug }) => slug)
  return await ask({
    question: 'Name in URLs (slug)',
    flag: '--slug',
    example: suggested ? undefined : 'acme',
    defaultAnswer:
      suggested && (await isFree(suggested)) && !removed.includes(suggested) ? suggested : undefined,
    async read(input) {
      const result = validate(slugSchema, input)
      if ('wrong' in result || (await isFree(result.answer))) return result
      return { wrong: `"${input}" is already connected. Choose another name` }
    },
  })
}

/**
 * Reads the required values from flags, and asks for those that are missing.
 *
 * @param previous answers that an empty input keeps
 */
async function readAnswers(
  preset: Preset,
  flags: QuestionFlags,
  settings: Partial<ProviderSettings>,
  previous: Answers = {},
): Promise<Answers> {
  const clientAuthentication = settings.clientAuthentication ?? preset.defaults?.clientAuthentication
  return {
    ...(await readIssuer(preset, flags, previous)),
    clientId:
      flags.clientId ??
      (await ask({
        question: 'Client ID',
        flag: '--client-id',
        defaultAnswer: previous.clientId ?? undefined,
      })),
    ...(await readClientSecret(settings, clientAuthentication, previous)),
  }
}

/** The issuer, or the answers from which the preset builds it. */
async function readIssuer(preset: Preset, flags: QuestionFlags, previous: Answers): Promise<Answers> {
  const given = answersFromFlags(flags)
  // The issuer replaces the questions. `connect` validates answers that are given anyway.
  if (flags.issuer !== undefined)
    return { issuer: flags.issuer, ...(Object.keys(given).length > 0 && { answers: given }) }
  if (!preset.settings) return { issuer: await askIssuer(previous.issuer ?? undefined) }
  const answers: Record<string, string> = { ...given }
  for (const { name, label, hint, example, required = true, read } of preset.asks) {
    if (name in given || (!required && !atTerminal())) continue
    const defaultAnswer = previous.answers?.[name] ?? (required ? undefined : '')
    answers[name] = await ask({ question: label, flag: `--${name}`, hint, example, read, defaultAnswer })
  }
  return { answers }
}

/** Answers for any preset: `connect` reports those that this preset does not ask for. */
function answersFromFlags(flags: QuestionFlags): Record<string, string> {
  const given = presets
    .flatMap(({ asks }) => asks)
    .map(({ name }) => [name, flags[new Option(`--${name} <text>`).attributeName()]] as const)
  return Object.fromEntries(given.filter((pair): pair is [string, string] => typeof pair[1] === 'string'))
}

async function askIssuer(defaultAnswer: string | undefined): Promise<string> {
  return await ask({
    question: 'Issuer',
    flag: '--issuer',
    example: 'https://id.acme.com',
    defaultAnswer,
    read: (input) => validate(settingsTable.issuer.schema, input),
  })
}

async function readClientSecret(
  settings: Partial<ProviderSettings>,
  clientAuthentication: string | undefined,
  previous: Answers,
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
      defaultAnswer: previous.clientSecret ?? undefined,
    }))
  return { clientSecret }
}

type Schema = { safeParse(value: string): { data?: string; error?: { issues: { message: string }[] } } }

function validate(schema: Schema, input: string): ReadResult {
  const { data, error } = schema.safeParse(input)
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
  if (interactive) printIntroduction(preset)
  const settings = await readSettings(flags)
  const slug = flags.slug ?? (await askSlug(context, preset, portal))
  const clientAuthentication = settings.clientAuthentication ?? preset.defaults?.clientAuthentication
  // Print the URLs before the questions: the provider's console needs them before it shows a client ID.
  if (!flags.json)
    printUrls(providerUrls(context, { slug, portal, preset: preset.name, clientAuthentication }))
  const enabled = flags.withoutTestSignIn === true && !flags.disabled
  const input = { ...settings, slug, preset: preset.name, enabled }
  const askAnswers = (previous?: Answers) => readAnswers(preset, flags, settings, previous)
  await connect(context, input, askAnswers, flags)
  const provider = (await sso.providers.find(slug, { portal })) as Provider
  if (!flags.json) provider.lastTest?.checks.forEach(printCheck)
  const testPassed =
    interactive && !enabled && !flags.disabled && (await offerTestSignIn(context, slug, flags))
  printConnected(context, { ...provider, enabled: enabled || testPassed }, flags)
}

const isInteractive = ({ json }: CommonFlags) => atTerminal() && !json

function printIntroduction({ name, displayName, hints }: Preset): void {
  print(`${displayName}. The guide is docs/providers/${name}.md in this package.`)
  for (const hint of hints) print(`  ${hint}`)
}

/** Connects the provider. A script tries once; at a terminal the user can correct the answers. */
async function connect(
  { sso, actor }: SsoContext,
  input: ProviderInput,
  askAnswers: (previous?: Answers) => Promise<Answers>,
  flags: AddFlags,
): Promise<void> {
  const interactive = isInteractive(flags)
  for (let answers = await askAnswers(); ; answers = await askAnswers(answers)) {
    printProgress(flags, 'Testing the provider …')
    try {
      await withFlagNames(sso.providers.connect({ ...input, ...answers }, { portal: flags.portal, actor }))
      return
    } catch (error) {
      if (!interactive || !(error instanceof ManagementError)) throw error
      print(`  ✗ ${error.message}`)
      if (!(await confirm('Change your answers and try again?', { flag: '--slug', defaultAnswer: 'yes' })))
        throw new ConfigurationError('no provider was connected')
    }
  }
}

/** @returns true if the test passed and the provider is enabled now */
async function offerTestSignIn(context: SsoContext, slug: string, flags: AddFlags): Promise<boolean> {
  const { sso, actor } = context
  const stoppedMessage = `stopped; ${slug} is connected, but not enabled yet`
  const question = 'Test a sign-in now, and enable the provider if it passes?'
  if (!(await confirm(question, { flag: '--disabled', stoppedMessage, defaultAnswer: 'yes' }))) return false
  const outcome = await testSignIn(context, slug, flags)
  if (outcome === 'passed') await sso.providers.enable(slug, { portal: flags.portal, actor })
  return outcome === 'passed'
}

function printConnected(context: SsoContext, provider: Provider, flags: AddFlags): void {
  const { slug, enabled } = provider
  const next = ['test-sign-in', 'enable'].map(
    (name) => `portal-sso providers ${name} ${slug}${portalFlag(flags.portal)}`,
  )
  printResult(
    flags,
    { provider, urls: providerUrls(context, provider), ...(!enabled && { next }) },
    enabled
      ? `${slug} is connected and on the login page.`
      : `${slug} is connected, but not enabled yet. Next, run \`${next[0]}\`, then \`${next[1]}\`.`,
  )
}
