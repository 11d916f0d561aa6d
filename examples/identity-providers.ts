import { startIdentityProvider } from './identity-provider.ts'

export interface StartedProvider {
  slug: string
  displayName: string
  issuer: string
  clientId: string
  clientSecret: string
  close(): Promise<void>
}

/** The identity providers of two companies, on the two ports after the portal's. */
export async function startIdentityProviders(
  portalPort: number,
  registration: (slug: string) => {
    clientSecret: string
    redirectUri: string
    postLogoutRedirectUri: string
    backChannelLogoutUri: string
  },
): Promise<StartedProvider[]> {
  const companies = [
    {
      slug: 'northwind',
      displayName: 'Northwind ID',
      accent: 'pine',
      people: [
        {
          id: 'ada',
          name: 'Ada Lovelace',
          email: 'ada@example.com',
          emailVerified: true,
          hint: 'known to the portal',
        },
        {
          id: 'grace',
          name: 'Grace Hopper',
          email: 'grace@example.com',
          emailVerified: true,
          hint: 'new to the portal',
        },
        {
          id: 'mallory',
          name: 'Mallory',
          email: 'ada@example.com',
          emailVerified: false,
          hint: "Ada's address, unverified",
        },
      ],
    },
    {
      slug: 'tailspin',
      displayName: 'Tailspin Accounts',
      accent: 'plum',
      people: [
        {
          id: 'a.lovelace',
          name: 'Ada Lovelace',
          email: 'ada@example.com',
          emailVerified: true,
          hint: 'known to the portal',
        },
        {
          id: 'k.johnson',
          name: 'Katherine Johnson',
          email: 'katherine@example.com',
          emailVerified: true,
          hint: 'new to the portal',
        },
        {
          id: 'a.turing',
          name: 'Alan Turing',
          hint: 'has to prove an address',
        },
      ],
    },
  ] as const
  return await Promise.all(
    companies.map(async ({ slug, displayName, accent, people }, at) => {
      const { clientSecret, redirectUri, postLogoutRedirectUri, backChannelLogoutUri } = registration(slug)
      const clientId = 'equipment-portal'
      const { issuer, close } = await startIdentityProvider({
        name: displayName,
        port: portalPort + 1 + at,
        clientId,
        clientName: 'Equipment Portal',
        clientSecret,
        redirectUris: [redirectUri],
        postLogoutRedirectUris: [postLogoutRedirectUri],
        backChannelLogout: { uri: backChannelLogoutUri, names: 'session' },
        saysWhen: true,
        people: [...people],
        accent,
      })
      return { slug, displayName, issuer, clientId, clientSecret, close }
    }),
  )
}
