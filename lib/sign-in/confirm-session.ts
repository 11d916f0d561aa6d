import type { Request } from 'express'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { WasSignedOut } from '../sessions/logout-tokens-table.ts'
import type { PortalSessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'

interface StartedSession {
  provider: Provider
  identity: Identity
  userId: string
  /** linked a moment ago because another link has the same Entra account */
  relinked: boolean
}

interface ConfirmationModules {
  readonly identities: IdentitiesTable
  readonly sessions: PortalSessions
  readonly table: ProvidersTable
  readonly wasSignedOut: WasSignedOut
}

/**
 * Ends a session that has just started if its provider, its link or its session at the provider ended in the meantime. The
 * session's row exists by now, so anything that happens later finds it.
 */
export class SessionConfirmation {
  readonly #modules: ConfirmationModules

  constructor(modules: ConfirmationModules) {
    this.#modules = modules
  }

  async confirmOrEnd(req: Request, session: StartedSession): Promise<void> {
    try {
      await this.#confirm(session)
    } catch (error) {
      await this.#modules.sessions.end(req)
      throw error
    }
  }

  async #confirm({ provider, identity, userId, relinked }: StartedSession): Promise<void> {
    const { identities, table, wasSignedOut } = this.#modules
    const { portal, slug, id, version } = provider
    const current = await table.find(portal, slug)
    // An administrator who undoes relinking changes the provider before deleting links. A later link deletes itself here.
    if (relinked && !(current?.id === id && current.version === version))
      await identities.unlinkRelinked(portal, identity)
    if (!(current?.id === id && current.enabled))
      throw new PortalSsoError('provider_changed', 'the provider was disabled during the sign-in')
    if (!(await identities.touch(portal, { ...identity, userId, providerId: id })))
      throw new PortalSsoError('provider_changed', 'the link was deleted during the sign-in')
    if (await wasSignedOut(provider, identity))
      throw new PortalSsoError('signed_out_meanwhile', 'the provider ended its session during the sign-in')
  }
}
