import type { Request } from 'express'
import type { Mail } from '../mail/mail.ts'
import { sendMethodMail } from '../mail/sign-in-method-mail.ts'
import type { Provider } from '../providers/provider.ts'
import { parseUserAgent } from '../sessions/session-data.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { User } from '../users/user-directory.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalUrls } from '../web/urls.ts'

/**
 * Tells a user by mail that there is another way to sign in as them, or one less: who did that in their name cannot keep it from
 * them. Nobody waits for the mail, and one that cannot be sent undoes nothing.
 */
export type NotifySignInMethodChange = (
  req: Request,
  told: { user: User; provider: Pick<Provider, 'displayName' | 'portal'>; what: 'linked' | 'unlinked' },
) => void

export interface NotifySignInMethodChangeParts {
  urls: PortalUrls
  logger: Logger
  pages: Pages
  sessions: Sessions
  /** undefined without a mailer */
  mail: Mail | undefined
}

export function createNotifySignInMethodChange(
  parts: NotifySignInMethodChangeParts,
): NotifySignInMethodChange {
  const { urls, logger, pages, sessions, mail } = parts
  return (req, { user, provider: { displayName, portal }, what }) => {
    if (!mail) return
    sendMethodMail(mail, pages.locale(req), {
      to: user.email,
      what,
      provider: displayName,
      at: new Date(),
      ...parseUserAgent(req.get('user-agent')),
      location: sessions.locationOf(req),
      href: urls.origin(portal) + urls.path('/account/security'),
    }).catch((error: unknown) =>
      logger.error({ portal, userId: user.id, cause: describeError(error) }, 'a user was not told by mail'),
    )
  }
}
