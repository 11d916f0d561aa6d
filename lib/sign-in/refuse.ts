import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError, type ProblemCode } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { type NextStep, newReference, type Pages, toProblem } from '../web/pages.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import { reauthenticationQuery } from './reauthentication.ts'

export interface RefusalContext {
  portal: string
  /** slug; left out where trying the same one again leads nowhere */
  provider?: string | undefined
  /** its row, where the provider may have refused the portal for want of consent */
  row?: Provider | undefined
  returnTo?: string | undefined
  /** see `Attempt`; the next try is to meet it, too */
  fresh?: ReauthenticationRequirement | undefined
  /** where it was begun, of what signs nobody in: the only way on, for a try from here would be a sign-in */
  back?: string | undefined
}

export interface RefuseParts {
  urls: PortalUrls
  homePath: string
  pages: Pages
  events: EventLog
  logger: Logger
}

// The provider would send the same person straight back: only another one gets further.
const personal = new Set<string>(['address_unproven', 'user_inactive', 'registration_closed'])

/** Ends a sign-in that may not or cannot go on: the person reads a page, the operator finds the exact cause under its reference. */
export type Refuse = (req: Request, res: Response, error: unknown, refused: RefusalContext) => Promise<void>

export function createRefuse({ urls, homePath, pages, events, logger }: RefuseParts): Refuse {
  return async (req, res, error, { portal, provider, row, returnTo, fresh, back }) => {
    const problem = toProblem(error)
    const reference = newReference()
    const reason = describeError(error)
    const log = problem.status >= 500 ? logger.error : logger.warn
    log.call(
      logger,
      { reference, portal, provider, code: problem.code, cause: reason },
      'a sign-in was refused',
    )
    await events.record({
      kind: 'sign-in-failed',
      portal,
      provider,
      reference,
      clientAddress: req.ip,
      detail: { code: problem.code, reason },
    })

    const placeholders = { provider: row?.displayName ?? '' }
    await pages.problem(req, res, problem, {
      reference,
      nextSteps: [
        ...nextStepsFor(problem.code, { portal, provider, row, returnTo, fresh, back }),
        // Who only had to show anew who they are is signed in as before.
        ...(fresh && back === undefined && req.user ? [{ label: 'home', href: homePath } as const] : []),
      ],
      placeholders,
    })
  }

  function nextStepsFor(
    code: ProblemCode,
    { provider, row, returnTo, fresh, back }: RefusalContext,
  ): NextStep[] {
    if (back !== undefined) return [{ label: 'goBack', href: back }]
    const kept = { returnTo, ...reauthenticationQuery(fresh) }
    const choose: NextStep = { label: 'chooseProvider', href: urls.path('/login', kept) }
    if (provider === undefined) return [choose]
    const start = `/login/${provider}`
    const administrators: NextStep[] =
      row && presetOf(row.preset)?.adminConsent
        ? [{ label: 'adminConsent', href: urls.path(`${start}/admin-consent`) }]
        : []
    // Their provider will not say more the next time.
    if (code === 'authentication_unproven') return [choose]
    if (code === 'consent_refused') return [...administrators, choose]
    if (personal.has(code))
      return [{ label: 'otherAccount', href: urls.path(start, { ...kept, account: 'other' }) }, choose]
    const again: NextStep = { label: 'tryAgain', href: urls.path(start, kept) }
    // Whoever is no administrator tries again, once theirs has consented.
    return code === 'consent_missing' ? [again, ...administrators, choose] : [again, choose]
  }
}
