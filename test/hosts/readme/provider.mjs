import { Provider } from 'oidc-provider'

const portal = 'http://localhost:3000'

const provider = new Provider('http://localhost:4000', {
  clients: [
    {
      client_id: 'portal',
      client_secret: 'only-for-this-machine',
      redirect_uris: [`${portal}/login/local/callback`],
      post_logout_redirect_uris: [`${portal}/logout/done`],
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
