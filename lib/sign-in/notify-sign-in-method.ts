import type { Request } from 'express'
import type { Mail } from '../mail/mail.ts'
import { sendMethodMail } from '../mail/mails.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import { parseUserAgent } from '../sessions/session-data.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { describeError } from '../shared/errors.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'

interface NotificationModules {
  readonly pages: Pages
  readonly sessions: Sessions
  /** left out without a mailer */
  readonly mail: Mail | undefined
}

/**
 * Mails a user whose sign-in methods changed, so that an attacker cannot hide such a change from them. Nothing waits for the
 * mail, and a failure undoes nothing.
 */
export class SignInMethodNotifications {
  readonly #core: Core
  readonly #modules: NotificationModules

  constructor(core: Core, modules: NotificationModules) {
    this.#core = core
    this.#modules = modules
  }

  notify(
    req: Request,
    changed: {
      user: User
      provider: Pick<Provider, 'displayName' | 'labels' | 'portal'>
      change: 'linked' | 'replaced' | 'unlinked'
    },
  ): void {
    const { logger, urls } = this.#core
    const { mail, pages, sessions } = this.#modules
    if (!mail) return
    const { user, provider, change } = changed
    const { portal } = provider
    const locale = pages.locale(req)
    sendMethodMail(mail, locale, {
      to: user.email,
      what: change,
      provider: providerName(provider, locale),
      at: new Date(),
      ...parseUserAgent(req.get('user-agent')),
      location: sessions.locations.locationOf(req),
      href: urls.origin(portal) + urls.path('/account/security'),
    }).catch((error: unknown) =>
      logger.error(
        { portal, userId: user.id, cause: describeError(error) },
        'no mail was sent about a changed sign-in method',
      ),
    )
  }
}
