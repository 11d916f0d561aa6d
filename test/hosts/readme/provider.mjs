import { Provider } from 'oidc-provider'

const portals = ['http://localhost:3000', 'http://north.localhost:3000', 'http://south.localhost:3000']

const provider = new Provider('http://localhost:4000', {
  clients: [
    {
      client_id: 'portal',
      client_secret: 'only-for-this-machine',
      // `local` is the provider's slug in README, and `acme` in the other examples.
      redirect_uris: portals.flatMap((url) => [`${url}/login/local/callback`, `${url}/login/acme/callback`]),
      post_logout_redirect_uris: portals.map((url) => `${url}/logout/done`),
    },
  ],
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  // Any login name is an account. Enter an e-mail address, and any password.
  findAccount: (_context, login) => ({
    accountId: login,
    claims: () => ({ sub: login, email: login, email_verified: true }),
  }),
})
provider.listen(4000, 'localhost')
