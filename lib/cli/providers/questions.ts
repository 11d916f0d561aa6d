import { type Command, Option } from 'commander'
import type { Preset } from '../../providers/presets/preset.ts'
import { presets } from '../../providers/presets/presets.ts'
import { providerSettingsSchema, slugSchema } from '../../providers/provider.ts'
import type { ProviderInput } from '../../providers/provider-input.ts'
import { ask, atTerminal, type Read } from '../ask.ts'
import type { Workbench } from '../environment.ts'
import { readSecrets } from '../secrets.ts'
import type { Common } from '../verb.ts'
import type { Flags } from './setting-flags.ts'

export interface QuestionFlags extends Common, Flags {
  slug?: string
  issuer?: string
  clientId?: string
  clientSecretFile?: string
  secondClientSecretFile?: string
}

export type Answers = Pick<
  ProviderInput,
  'issuer' | 'answers' | 'clientId' | 'clientSecret' | 'secondClientSecret'
>

/** What presets ask for, each name once, unless it is the flag of a setting already. */
export function questionFlags(command: Command): Option[] {
  const taken = new Set(command.options.map(({ long }) => long))
  const uses = new Map<string, string[]>()
  for (const { name: preset, asks } of presets)
    for (const { name, label } of asks) uses.set(name, [...(uses.get(name) ?? []), `${preset}: ${label}`])
  return [...uses]
    .filter(([name]) => !taken.has(`--${name}`))
    .map(([name, says]) => new Option(`--${name} <text>`, says.join('; ')))
}

export async function askSlug({ sso }: Workbench, preset: Preset, portal: string): Promise<string> {
  const proposed = preset.name === 'generic' ? undefined : preset.name
  // A script gets what a person would be offered; that it is taken is told when it is connected.
  if (proposed && !atTerminal()) return proposed
  const free = async (slug: string) => !(await sso.providers.find(slug, portal))
  // Who takes the name of a removed one forgets that: not by pressing Enter.
  const removed = (await sso.providers.removed(portal)).map(({ slug }) => slug)
  return await ask({
    question: 'Name in addresses (slug)',
    flag: '--slug',
    example: proposed ? undefined : 'acme',
    otherwise: proposed && (await free(proposed)) && !removed.includes(proposed) ? proposed : undefined,
    async read(answer) {
      const read = reading(slugSchema, answer)
      if ('wrong' in read || (await free(read.answer))) return read
      return { wrong: `"${answer}" is connected already: choose another one` }
    },
  })
}

/**
 * All that a provider cannot do without, from flags or from the person.
 *
 * @param before what was answered the last time, which an empty answer keeps
 */
export async function answer(
  preset: Preset,
  flags: QuestionFlags,
  clientAuthentication: string | undefined,
  before: Answers = {},
): Promise<Answers> {
  return {
    ...(await whereItIs(preset, flags, before)),
    clientId:
      flags.clientId ??
      (await ask({ question: 'Client id', flag: '--client-id', otherwise: before.clientId ?? undefined })),
    ...(await secrets(flags, clientAuthentication, before)),
  }
}

/** The issuer, or what the preset makes it of. */
async function whereItIs(preset: Preset, flags: QuestionFlags, before: Answers): Promise<Answers> {
  const given = givenAnswers(flags)
  // The issuer itself says all that the questions are for; what was answered all the same is judged with it.
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

/** Those of other presets too: that this one does not ask for them is told, not passed over. */
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
    read: (given) => reading(providerSettingsSchema.shape.issuer, given),
  })
}

/** Never from the argument list, where every process on the machine can read it. */
async function secrets(
  flags: QuestionFlags,
  clientAuthentication: string | undefined,
  before: Answers,
): Promise<Answers> {
  const given = await readSecrets(flags)
  const needsNone = clientAuthentication === 'none' || clientAuthentication === 'private_key_jwt'
  if (given.clientSecret !== undefined || needsNone) return given
  const clientSecret =
    process.env.PORTAL_SSO_CLIENT_SECRET ||
    (await ask({
      question: 'Client secret',
      flag: '--client-secret-file (or --public for a client without one)',
      hidden: true,
      otherwise: before.clientSecret ?? undefined,
    }))
  return { ...given, clientSecret }
}

type Schema = { safeParse(value: string): { data?: string; error?: { issues: { message: string }[] } } }

function reading(schema: Schema, given: string): Read {
  const { data, error } = schema.safeParse(given)
  return data === undefined ? { wrong: error?.issues[0]?.message ?? 'that will not do' } : { answer: data }
}
