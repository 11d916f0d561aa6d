import { Argument, Option } from 'commander'
import type * as z from 'zod'
import type { ProviderInput } from '../../management/provider-input.ts'
import { providerUrls } from '../../management/provider-urls.ts'
import type { Preset } from '../../providers/presets/preset.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../../providers/provider.ts'
import { settings as settingsTable } from '../../providers/settings.ts'
import { ConfigurationError, ManagementError } from '../../shared/errors.ts'
import { type CommandContext, type PortalCommands, suggest } from '../command.ts'
import { ask, atTerminal, confirm, type ReadResult } from '../input.ts'
import { checkText, print, printProgress, type Result } from '../output.ts'
import { describeUrls, urlsByName } from './show.ts'
import { testSignIn } from './test-sign-in.ts'
import {
  type Flags,
  isInteractive,
  logoOption,
  readLogoFlag,
  readSettings,
  resolveTrust,
  settingOptions,
  trustOption,
  withFlagNames,
} from './update.ts'

interface AddFlags extends Flags {
  slug?: string
  trust?: string
  logo?: string
  disabled?: boolean
  withoutTestSignIn?: boolean
}

type AddContext = CommandContext<AddFlags>

export const addCommands: PortalCommands = {
  add: {
    description: 'connect a provider: check, discover, test and save it; then test a sign-in and enable it',
    examples: [
      'providers add',
      'providers add entra --tenant <GUID> --client-id <GUID> --client-secret-file secret.txt',
      'providers add --slug acme --issuer https://id.acme.com --client-id portal --trust confirmed --logo acme.png',
    ],
    notes: `
You are asked for missing values. The client secret is never an argument: you are asked for it, or it is read from
--client-secret-file or PORTAL_SSO_CLIENT_SECRET. Without a terminal the provider stays a draft unless you give --without-test-sign-in.`,
    argument: new Argument('[preset]', 'provider type')
      .choices(presets.map(({ name }) => name))
      .default('generic'),
    get otherOptions() {
      const options = [
        new Option('--slug <slug>', 'name in URLs: /login/<slug>'),
        trustOption(),
        ...settingOptions(),
        new Option('--disabled', 'only save it as a draft'),
        new Option('--without-test-sign-in', 'enable without a test sign-in (logged)'),
      ]
      return [...options, ...questionOptions(options)]
    },
    options: logoOption,
    run: add,
  },
}

function questionOptions(existing: Option[]): Option[] {
  const labels = new Map<string, string[]>()
  for (const { name: preset, asks } of presets)
    for (const { name, label } of asks) labels.set(name, [...(labels.get(name) ?? []), `${preset}: ${label}`])
  for (const option of existing) labels.delete(option.name())
  return [...labels].map(([name, uses]) => new Option(`--${name} <text>`, uses.join('; ')))
}

async function add(context: AddContext, presetName: string): Promise<Result> {
  const { providers, flags } = context
  const preset = presetOf(presetName) as Preset
  const { name, displayName, hints, defaults } = preset
  const interactive = isInteractive(context)
  if (interactive)
    print([`${displayName}. The guide is docs/providers/${name}.md in this package.`, ...hints].join('\n  '))
  const settings = await readSettings(flags)
  const logo = await readLogoFlag(flags.logo)
  if (!atTerminal()) checkComplete(context, preset, settings)
  const slug = flags.slug ?? (await askSlug(context, preset))
  const { clientAuthentication } = { ...defaults, ...settings }
  // Print the URLs before the questions: the provider's console needs them before it shows a client ID.
  if (!flags.json)
    print(describeUrls(providerUrls(context, { ...defaults, ...settings, slug, preset: name }, flags.portal)))
  const enabled = flags.withoutTestSignIn === true && !flags.disabled
  const answers = answersIn(flags)
  await connect(context, preset, { ...settings, slug, preset: name, answers, clientAuthentication, enabled })
  if (logo) await providers.setLogo(slug, logo, { actor: context.actor })
  const provider = await providers.get(slug)
  if (!flags.json) for (const check of provider.lastTest?.checks ?? []) print(checkText(check))
  const testPassed = interactive && !enabled && !flags.disabled && (await offerTestSignIn(context, slug))
  return describeConnected(context, { ...provider, enabled: enabled || testPassed })
}

/** A script that nobody can answer gets all missing flags at once. */
function checkComplete({ flags }: AddContext, preset: Preset, settings: Partial<ProviderInput>): void {
  const { clientId, clientSecret, clientSecretReference, clientAuthentication, issuer } = {
    ...preset.defaults,
    ...settings,
  }
  const needsSecret = clientAuthentication !== 'none' && clientAuthentication !== 'private_key_jwt'
  const answers = answersIn(flags)
  const questions = preset.asks.filter(({ name, required = true }) => required && !(name in answers))
  const missing = [
    preset.name === 'generic' && flags.slug === undefined && '--slug',
    issuer === undefined && !preset.settings && '--issuer',
    ...(issuer === undefined && preset.settings ? questions.map(({ name }) => `--${name}`) : []),
    clientId === undefined && '--client-id',
    needsSecret &&
      clientSecret === undefined &&
      clientSecretReference === undefined &&
      !process.env.PORTAL_SSO_CLIENT_SECRET &&
      '--client-secret-file (or --public for a client without one)',
  ].filter((flag) => flag !== false)
  if (missing.length > 0) throw new ConfigurationError(`give ${missing.join(', ')}`)
}

/** Answers for any preset: `connect` reports those that this preset does not ask for. */
function answersIn(flags: Flags): Record<string, string> {
  const answers: Record<string, string> = {}
  for (const { name } of presets.flatMap(({ asks }) => asks)) {
    const value = flags[new Option(`--${name} <text>`).attributeName()]
    if (typeof value === 'string') answers[name] = value
  }
  return answers
}

async function askSlug({ providers }: AddContext, preset: Preset): Promise<string> {
  const suggested = preset.name === 'generic' ? undefined : preset.name
  // A script uses the suggestion; `connect` refuses a slug that is already connected.
  if (suggested && !atTerminal()) return suggested
  const isFree = async (slug: string) => !(await providers.find(slug))
  // Reusing the slug of a removed provider deletes that provider, so never suggest it.
  const removed = (await providers.listRemoved()).map(({ slug }) => slug)
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

/** Connects the provider. A script tries once; at a terminal the user can correct the answers. */
async function connect(context: AddContext, preset: Preset, input: ProviderInput): Promise<void> {
  const { providers, actor, flags } = context
  let trust: Partial<ProviderInput> | undefined
  for (
    let answers = await askMissing(preset, input);
    ;
    answers = await askMissing(preset, input, { ...input, ...answers })
  ) {
    trust ??= await resolveTrust(context, preset, input)
    printProgress(flags, 'Testing the provider …')
    try {
      await withFlagNames(providers.connect({ ...input, ...answers, ...trust }, { actor }))
      return
    } catch (error) {
      if (!isInteractive(context) || !(error instanceof ManagementError)) throw error
      print(`  ✗ ${error.message}`)
      if (!(await confirm('Change your answers and try again?', { flag: '--slug', defaultAnswer: 'yes' })))
        throw new ConfigurationError('no provider was connected')
    }
  }
}

/** `answers`: those from which the preset builds the issuer. */
type Answers = Partial<Record<'issuer' | 'clientId' | 'clientSecret', string>> & {
  answers?: Record<string, string>
}

/** Asks for the required values that no flag supplies. @param previous asked again; an empty input keeps them */
async function askMissing(
  preset: Preset,
  input: ProviderInput,
  previous: Partial<ProviderInput> = {},
): Promise<Answers> {
  const { issuer, clientId, clientSecret, clientSecretReference, clientAuthentication } = input
  const answers: Answers = {}
  if (issuer === undefined && preset.settings)
    answers.answers = await askQuestions(preset, input.answers, previous.answers)
  else if (issuer === undefined || previous.issuer)
    answers.issuer = await ask({
      question: 'Issuer',
      flag: '--issuer',
      example: 'https://id.acme.com',
      defaultAnswer: previous.issuer ?? undefined,
      read: (text) => validate(settingsTable.issuer.schema, text),
    })
  const defaultAnswer = previous.clientId ?? undefined
  if (clientId === undefined || defaultAnswer !== undefined)
    answers.clientId = await ask({ question: 'Client ID', flag: '--client-id', defaultAnswer })
  const needsNone = clientAuthentication === 'none' || clientAuthentication === 'private_key_jwt'
  if (clientSecret === undefined && clientSecretReference === undefined && !needsNone)
    answers.clientSecret =
      process.env.PORTAL_SSO_CLIENT_SECRET ||
      (await ask({
        question: 'Client secret',
        flag: '--client-secret-file (or --public for a client without one)',
        hidden: true,
        defaultAnswer: previous.clientSecret ?? undefined,
      }))
  return answers
}

async function askQuestions(
  preset: Preset,
  given: Readonly<Record<string, string>> = {},
  previous: Record<string, string> = {},
): Promise<Record<string, string>> {
  const answers = { ...given }
  for (const { name, label, hint, example, required = true, askedAsTrust, read } of preset.asks) {
    if ((name in given && !(name in previous)) || askedAsTrust || (!required && !atTerminal())) continue
    const defaultAnswer = previous[name] ?? (required ? undefined : '')
    answers[name] = await ask({ question: label, flag: `--${name}`, hint, example, read, defaultAnswer })
  }
  return answers
}

function validate(schema: z.ZodType<string>, input: string): ReadResult {
  const { data, error } = schema.safeParse(input)
  return error ? { wrong: error.issues[0]?.message ?? 'this value is not valid' } : { answer: data }
}

/** @returns true if the test passed and the provider is enabled now */
async function offerTestSignIn(context: AddContext, slug: string): Promise<boolean> {
  const stoppedMessage = `stopped; ${slug} is connected, but not enabled yet`
  const question = 'Test a sign-in now, and enable the provider if it passes?'
  const options = { flag: '--disabled', stoppedMessage, defaultAnswer: 'yes' } as const
  if (!(await confirm(question, options)) || !(await testSignIn(context, slug))) return false
  await context.providers.enable(slug, { actor: context.actor })
  return true
}

function describeConnected(context: AddContext, provider: Provider): Result {
  const { slug, enabled } = provider
  const urls = urlsByName(providerUrls(context, provider, context.flags.portal))
  if (enabled) return { json: { provider, urls }, text: `${slug} is connected and on the login page.` }
  const next = ['test-sign-in', 'enable'].map((name) => suggest(`providers ${name} ${slug}`, context.flags))
  return {
    json: { provider, urls, next },
    text: `${slug} is connected, but not enabled yet. Next, run \`${next[0]}\`, then \`${next[1]}\`.`,
  }
}
