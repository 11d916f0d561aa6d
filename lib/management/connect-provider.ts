import { makeClientKey } from '../providers/client-key.ts'
import type { Provider } from '../providers/provider.ts'
import { slugTaken } from '../providers/providers-table.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import type { ManagementContext } from './context.ts'
import { type ProviderInput, readInput } from './provider-input.ts'
import { assertMayReference } from './secret-reference-rules.ts'
import { testAndResolve } from './test-provider.ts'

/** Checks, discovers, tests and saves: the action behind admin pages, command line and code. */
export async function connectProvider(
  {
    urls,
    events,
    outbound,
    providersTable,
  }: Pick<ManagementContext, 'urls' | 'events' | 'outbound' | 'providersTable'>,
  input: ProviderInput,
  { portal, actor, source }: ResolvedActOptions,
): Promise<Provider> {
  const { slug, preset, enabled, settings: given } = readInput(input)
  if (await providersTable.find(portal, slug)) throw slugTaken(slug)
  assertMayReference(given, source)
  const { clientSecretReference: reference, clientSecret } = given
  const secret = reference === undefined ? clientSecret : await providersTable.readSecretReference(reference)
  const test = { preset, redirectUri: urls.callback(slug, portal) }
  const { settings, keyAlgorithm, checks } = await testAndResolve(
    { ...given, clientSecret: secret },
    test,
    outbound,
  )
  // The first key signs at once: the provider cannot have cached an earlier one.
  const clientKeys = keyAlgorithm && [await makeClientKey(keyAlgorithm, Date.now())]
  const provider = await providersTable.insert(
    { ...settings, portal, slug, preset, enabled },
    { clientSecret, clientKeys },
  )
  await providersTable.recordConnectionTest(provider, checks)
  const detail = {
    issuer: provider.issuer,
    enabled: String(enabled),
    // The operator enabled it without a test sign-in.
    ...(enabled && { testSignIn: 'overridden' as const }),
  }
  await events.record({ kind: 'provider-connected', portal, provider: slug, actor, detail })
  return provider
}
