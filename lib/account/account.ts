import type { Request, Response } from 'express'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'
import { SignInMethods } from './sign-in-methods.ts'

interface AccountModules {
  readonly signIn: SignIn
  readonly users: Users
}

/** A user's own sign-in methods and sessions. It never starts a session. */
export class Account {
  readonly methods: SignInMethods
  readonly #core: Core
  readonly #modules: AccountModules

  constructor(core: Core, modules: AccountModules & { providersTable: ProvidersTable }) {
    this.#core = core
    this.#modules = modules
    this.methods = new SignInMethods(modules.users.identities, modules.providersTable)
  }

  /**
   * Finishes an attempt to link another provider. It links nothing yet: the provider may have answered with an account that
   * another user left signed in there. A page names the account and asks.
   *
   * @param added.userId the user who started the attempt
   */
  async addSignInMethod(
    req: Request,
    res: Response,
    added: { provider: Provider; identity: Identity; userId: string },
  ): Promise<void> {
    const { provider, identity, userId } = added
    const { portal } = provider
    const { urls } = this.#core
    const { signIn, users } = this.#modules
    if (!req.user || String((req.user as User).id) !== userId)
      throw new PortalSsoError('attempt_expired', 'another user, or nobody, is signed in now')
    const linkedTo = await users.identities.findUserId(portal, identity)
    if (linkedTo === userId) return res.redirect(303, urls.path('/account/security', { notice: 'known' }))
    const holder =
      linkedTo === undefined
        ? await signIn.resolver.findEntraUser(identity, portal)
        : await users.findById(linkedTo, portal)
    if (holder && String(holder.id) !== userId)
      throw new PortalSsoError('identity_taken', 'the identity is linked to another user')
    await signIn.pendingRegistrations.begin(res, {
      provider,
      identity,
      returnTo: urls.path('/account/security'),
      provedUserId: userId,
      requestedByUser: true,
    })
    res.redirect(303, urls.path('/register/link'))
  }
}
