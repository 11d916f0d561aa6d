import { afterAll, beforeEach } from '@jest/globals'
import { type FaultyProvider, type FaultyProviderOptions, startFaultyProvider } from './faulty-provider.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from './portal.ts'
import { formIn, type Seen, Visitor } from './visitor.ts'

/** The user whom test providers sign in by default. */
export const ada = { email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }

/** Starts one provider for all tests of a file, and removes its faults before each test. */
export async function useProvider(options: FaultyProviderOptions = {}): Promise<FaultyProvider> {
  const provider = await startFaultyProvider(options)
  beforeEach(() => provider.reset())
  afterAll(() => provider.close())
  return provider
}

/** Starts a portal with the user Ada, and with the provider as `acme`. */
export async function startPortalWithAda(
  provider: FaultyProvider,
  options: TestPortalOptions = {},
): Promise<TestPortal> {
  const portal = await startPortal(options)
  await portal.connect(provider)
  if (!options.users) await portal.sso.users.create(ada)
  return portal
}

type Part = { portal: Pick<TestPortal, 'url'>; visitor: Visitor }

/** Signs in with a provider, and submits the forms in between. @returns the last page */
export async function signIn({ portal, visitor }: Part, slug: string, returnTo = '/portal'): Promise<Seen> {
  const query = new URLSearchParams({ returnTo, anyway: '1' })
  // Also if a probe has found the provider down.
  const seen = await visitor.open(`${portal.url}/login/${slug}?${query}`)
  return seen.url.startsWith(portal.url) ? seen : await postResponse({ portal, visitor }, seen)
}

/** Follows the redirect to the provider. @returns the URL of its authorization response */
export const responseUrl = async (visitor: Visitor, started: Seen): Promise<string> =>
  (await visitor.get(started.location!)).location!

export async function timed(send: () => Promise<Seen>): Promise<{ seen: Seen; ms: number }> {
  const startedAt = performance.now()
  const seen = await send()
  return { seen, ms: performance.now() - startedAt }
}

/** The provider's page posts without our Lax cookies, because it is another site. Our page then posts with them. */
export async function postResponse({ portal, visitor }: Part, providerPage: Seen): Promise<Seen> {
  const theirs = formIn(providerPage.body)
  const headers = { 'sec-fetch-site': 'cross-site', origin: 'null' }
  const ourPage = await new Visitor().post(theirs.action, theirs.fields, headers)
  const ours = formIn(ourPage.body)
  if (!ours.action.endsWith('/callback')) return ourPage
  return await visitor.follow(await visitor.post(new URL(ours.action, portal.url).href, ours.fields))
}
