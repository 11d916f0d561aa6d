import { z } from 'zod'
import { ConfigurationError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Addresses } from '../web/addresses.ts'
import { portalName } from '../web/portal-of.ts'
import type { Outbound } from './outbound-http.ts'
import { presets } from './presets.ts'
import { type Provider, type ProviderSettings, providerSettingsSchema, slugSchema } from './provider.ts'
import type { ProvidersTable } from './providers-table.ts'
import { type ProviderTest, testProvider } from './test-provider.ts'

/** What `connect` takes: a slug, a preset with what it asks for, and the settings; the issuer may come from the preset. */
export type ProviderInput = { [K in keyof ProviderSettings]?: ProviderSettings[K] | undefined } & {
  /** name in addresses, unique in the portal: `/login/acme` */
  slug: string
  /** default `generic` */
  preset?: string | undefined
  /** default `default` */
  portal?: string | undefined
  /** preset `entra`: the Directory (tenant) ID */
  tenant?: string | undefined
  /** default true */
  enabled?: boolean | undefined
}

/** Providers of a portal, from code; the CLI does the same acts. `portal` is `default` wherever it is left out. */
export interface Providers {
  /** Checks, discovers, tests, saves. @throws ConfigurationError that says what to do; nothing is saved then */
  connect(input: ProviderInput): Promise<Provider>
  list(portal?: string): Promise<Provider[]>
  /** Tests it anew, changing nothing. */
  test(slug: string, portal?: string): Promise<ProviderTest>
  update(slug: string, changes: Partial<ProviderSettings>, portal?: string): Promise<Provider>
  enable(slug: string, portal?: string): Promise<void>
  disable(slug: string, portal?: string): Promise<void>
  /** @param slug `undefined`: none is recommended any more */
  recommend(slug: string | undefined, portal?: string): Promise<void>
  remove(slug: string, portal?: string): Promise<void>
  /** the redirect URI to enter at the provider */
  redirectUri(slug: string, portal?: string): string
  /** the back-channel logout URI to enter at the provider, where it has such a thing */
  backChannelLogoutUri(slug: string, portal?: string): string
  /** the post-logout redirect URI to enter at the provider, the same for all of a portal */
  postLogoutRedirectUri(portal?: string): string
}

export function createProviders(
  table: ProvidersTable,
  events: EventLog,
  addresses: Pick<Addresses, 'callback' | 'backChannelLogout' | 'loggedOut'>,
  outbound: Outbound,
): Providers {
  async function existing(slug: string, portal: string): Promise<Provider> {
    const provider = await table.find(portal, slug)
    if (!provider) throw new ConfigurationError(`no provider is called "${slug}" in the portal "${portal}"`)
    return provider
  }

  async function changed(provider: Provider, change: string): Promise<void> {
    await events.record({
      kind: 'provider-changed',
      portal: provider.portal,
      provider: provider.slug,
      detail: { change },
    })
  }

  return {
    async connect(input) {
      const { slug, portal, preset, enabled, settings } = readInput(input)
      if (await table.find(portal, slug))
        throw new ConfigurationError(
          `a provider called "${slug}" is connected already: choose another slug, or update that one`,
        )
      const { clientSecret, ...found } = await tested(settings, outbound)
      const provider = await table.insert(
        {
          portal,
          slug,
          preset,
          enabled,
          displayName: found.displayName,
          issuer: found.issuer,
          clientId: found.clientId,
          clientAuthentication: found.clientAuthentication,
          signingAlgorithm: found.signingAlgorithm,
          responseMode: formPost(found.responseMode),
          prompt: found.prompt,
          authorizationParameters: found.authorizationParameters ?? {},
          emailClaim: found.emailClaim ?? 'email',
          trustsEmail: found.trustsEmail ?? false,
          emailDomains: found.emailDomains ?? [],
        },
        clientSecret,
      )
      await events.record({
        kind: 'provider-connected',
        portal,
        provider: slug,
        detail: { issuer: provider.issuer },
      })
      return provider
    },

    list: (portal = 'default') => table.list(portal),

    async test(slug, portal = 'default') {
      const provider = await existing(slug, portal)
      const hasClientSecret = (await table.clientSecret(provider)) !== undefined
      return await testProvider({ ...provider, hasClientSecret }, outbound)
    },

    async update(slug, changes, portal = 'default') {
      const provider = await existing(slug, portal)
      const { clientSecret, responseMode, ...rest } = parse(providerSettingsSchema.partial(), changes)
      // Who may change the issuer must not get the client secret sent wherever he likes.
      if (rest.issuer && !clientSecret && new URL(rest.issuer).origin !== new URL(provider.issuer).origin)
        throw new ConfigurationError('clientSecret: give it again when the issuer moves to another origin')
      const known = clientSecret ?? (await table.clientSecret(provider))
      // The same test as when it was connected: a change must not leave a provider behind that cannot work.
      const found = await tested({ ...provider, ...defined(rest), clientSecret: known }, outbound)
      const updated = await table.update(
        provider,
        {
          ...defined(rest),
          issuer: found.issuer,
          ...(responseMode ? { responseMode: formPost(responseMode) } : {}),
        },
        clientSecret,
      )
      await changed(provider, Object.keys(changes).join(', '))
      return updated
    },

    async enable(slug, portal = 'default') {
      const provider = await existing(slug, portal)
      await table.setEnabled(provider, true)
      await changed(provider, 'enabled')
    },

    async disable(slug, portal = 'default') {
      const provider = await existing(slug, portal)
      await table.setEnabled(provider, false)
      await changed(provider, 'disabled')
    },

    async recommend(slug, portal = 'default') {
      const provider = slug === undefined ? undefined : await existing(slug, portal)
      await table.recommend(portal, slug)
      if (provider) await changed(provider, 'recommended')
    },

    async remove(slug, portal = 'default') {
      const provider = await existing(slug, portal)
      await table.remove(provider)
      await events.record({ kind: 'provider-removed', portal, provider: slug })
    },

    redirectUri(slug, portal = 'default') {
      return addresses.callback(parse(slugSchema, slug), portal)
    },

    backChannelLogoutUri(slug, portal = 'default') {
      return addresses.backChannelLogout(parse(slugSchema, slug), portal)
    },

    postLogoutRedirectUri: (portal = 'default') => addresses.loggedOut(portal),
  }
}

const inputSchema = z.looseObject({
  slug: slugSchema,
  portal: z.string().regex(portalName, 'write the name of a portal in lower case').default('default'),
  preset: z.enum(Object.keys(presets)).default('generic'),
  enabled: z.boolean().default(true),
})

function readInput(input: ProviderInput) {
  const { slug, portal, preset: presetName, enabled, ...given } = parse(inputSchema, input)
  const preset = presets[presetName] as (typeof presets)[string]
  const { tenant, ...settings } = given as { tenant?: unknown }
  const answers = parse(preset.asks, defined({ tenant }))
  const settled = parse(providerSettingsSchema, {
    displayName: preset.displayName ?? slug,
    ...(preset.issuer ? { issuer: preset.issuer(answers) } : {}),
    ...preset.defaults,
    ...defined(settings),
  })
  return { slug, portal, preset: presetName, enabled, settings: settled }
}

type Testable = Pick<
  ProviderSettings,
  'issuer' | 'clientSecret' | 'clientAuthentication' | 'signingAlgorithm'
>

async function tested<T extends Testable>(settings: T, outbound: Outbound) {
  const hasClientSecret = settings.clientSecret !== undefined
  const test = await testProvider({ ...settings, hasClientSecret }, outbound)
  const { issuer, clientAuthentication, signingAlgorithm } = test
  if (!test.ok || !issuer || !clientAuthentication || !signingAlgorithm) {
    const failed = test.checks.filter(({ result }) => result === 'failed')
    throw new ConfigurationError(
      failed.map(({ finding, remedy }) => (remedy ? `${finding} – ${remedy}` : finding)).join('; '),
    )
  }
  return { ...settings, issuer, clientAuthentication, signingAlgorithm }
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new ConfigurationError(
    result.error.issues.map(({ path, message }) => `${path.join('.') || 'provider'}: ${message}`).join('; '),
  )
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as never
}

function formPost(mode: 'query' | 'form_post' | undefined): 'form_post' | undefined {
  return mode === 'form_post' ? mode : undefined
}
