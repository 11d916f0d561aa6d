import type { Request } from 'express'
import { explain } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { MethodChange, SendMethodMail } from '../mail/method-mail.ts'
import { deviceOf } from '../sessions/device.ts'
import type { User } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'

/**
 * Tells a user by mail that a way to sign in was added or taken away: whoever did it in their name is found out. Nobody waits for
 * it, and a mail that fails stops nothing.
 */
export type TellOwner = (
  req: Request,
  told: { change: MethodChange; portal: string; user: User; provider: string },
) => void

export interface TellOwnerParts {
  addresses: Addresses
  logger: Logger
  pages: Pages
  placeOf: (req: Request) => string | undefined
  /** left out where there is nothing to send with: nobody is told */
  sendMethodMail: SendMethodMail | undefined
}

export function createTellOwner(parts: TellOwnerParts): TellOwner {
  const { addresses, logger, pages, placeOf, sendMethodMail } = parts

  async function send(
    mailer: SendMethodMail,
    req: Request,
    { change, portal, user, provider }: Parameters<TellOwner>[1],
  ): Promise<void> {
    const { browser, system } = deviceOf(req.get('user-agent'))
    const account = addresses.origin(portal) + addresses.path('/account/security')
    const place = placeOf(req)
    const mail = { to: user.email, change, provider, at: new Date(), browser, system, place, account }
    await mailer(pages.locale(req), mail)
  }

  return (req, told) => {
    if (!sendMethodMail) return
    const { change, portal, user } = told
    send(sendMethodMail, req, told).catch((error: unknown) => {
      logger.error(
        { portal, userId: user.id, change, cause: explain(error) },
        'a user was not told by mail that their sign-in methods have changed',
      )
    })
  }
}
