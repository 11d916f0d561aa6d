import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EndLinking } from '../account/sign-in-methods.ts'
import {
  type AuthorizationResponse,
  readAuthorizationResponse,
  readLoginHint,
} from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type {
  Attempt,
  Attempts,
  CompletedAttempt,
  ReauthenticationRequirement,
  TestAttempt,
} from '../sign-in/attempts.ts'
import type { SignedOutMarker } from '../sign-in/browser-hints.ts'
import type { CompleteSignIn } from '../sign-in/complete-sign-in.ts'
import type { ProviderStrategies } from '../sign-in/connected-providers.ts'
import type { ResolveIdentity } from '../sign-in/decide.ts'
import type { StartRegistration } from '../sign-in/pending-registration.ts'
import { assertReauthenticated, readReauthentication } from '../sign-in/reauthentication.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import type { FinishTestSignIn } from '../test-sign-in/test-sign-in.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { PortalUrls } from '../web/urls.ts'

export interface ProviderRouterParts {
  urls: PortalUrls
  completeSignIn: CompleteSignIn
  attempts: Attempts
  endLinking: EndLinking
  finishTestSignIn: FinishTestSignIn
  homePath: string
  /** id of the registration that waits in this browser */
  findPendingRegistrationId: (req: Request, portal: string) => Promise<string | undefined>
  resolveIdentity: ResolveIdentity
  pages: Pages
  /** whether codes can be sent, so that a person can prove an address */
  canVerifyEmail: boolean
  refuse: Refuse
  startRegistration: StartRegistration
  signedOutMarker: SignedOutMarker
  strategies: ProviderStrategies
  table: ProvidersTable
}

/** says in a re-posted form that it comes from our own page */
const repostedField = 'portal_sso_posted_again'

/** One provider's routes: `/` starts, `/callback` finishes. Which half runs is the route's to say, never the parameters'. */
export function createProviderRouter(provider: Provider, parts: ProviderRouterParts): Router {
  const {
    urls,
    completeSignIn,
    attempts,
    endLinking,
    finishTestSignIn,
    findPendingRegistrationId,
    homePath,
    resolveIdentity,
    pages,
  } = parts
  const { startRegistration, canVerifyEmail, refuse, signedOutMarker, strategies, table } = parts
  const { portal, slug } = provider

  const begin = asyncHandler(async (req, res) => {
    const returnTo = safeReturnTo(req.query.returnTo)
    const fresh = readReauthentication(req.query)
    try {
      const address = await strategies.begin(req, res, provider, {
        returnTo,
        otherAccount: req.query.account === 'other' || signedOutMarker.is(req),
        loginHint: readLoginHint(req.query.login_hint),
        fresh,
        // Which one is never the query's to say.
        proving: req.query.proving === undefined ? undefined : await findPendingRegistrationId(req, portal),
      })
      // To the letter: Express's own redirect would spell it anew.
      res.status(302).set('location', address).end()
    } catch (error) {
      await refuse(req, res, error, { portal, provider: slug, row: provider, returnTo, fresh })
    }
  })

  const finish = asyncHandler(async (req, res) => {
    let returnTo: string | undefined
    let fresh: ReauthenticationRequirement | undefined
    let back: string | undefined
    try {
      const answer = readAuthorizationResponse(req)
      const again = answer.parameters.has(repostedField)
      answer.parameters.delete(repostedField)
      const taken = await attempts.take(req, res, answer.state)
      // A post from the provider's site comes without our Lax cookies: from a page of ours it comes with them.
      if ('unknown' in taken && req.method === 'POST' && !again)
        return await repostFromOwnOrigin(req, res, answer)
      if (!('attempt' in taken)) {
        if ('unknown' in taken) assertEnabled()
        returnTo = 'spent' in taken ? taken.returnTo : undefined
        return await handleUsedAttempt(req, res, returnTo)
      }
      const { attempt } = taken
      returnTo = attempt.returnTo
      fresh = attempt.fresh
      back = attempt.linking === undefined ? undefined : urls.path('/account/security')
      // Before anything that signs somebody in: a rehearsal never does.
      if (attempt.rehearsal) return await report(req, res, answer, attempt, attempt.rehearsal)
      assertEnabled()
      const identity = await strategies.finish(req, res, provider, { answer, attempt })
      assertReauthenticated(identity, fresh)
      await assertProviderUnchanged()
      const { linking } = attempt
      if (linking !== undefined) await endLinking(req, res, { provider, identity, linking })
      else await applyDecision(req, res, identity, attempt)
    } catch (error) {
      // Where it is not enabled, trying it again leads nowhere.
      const again = provider.enabled ? { provider: slug, row: provider } : {}
      await refuse(req, res, error, { portal, ...again, returnTo, fresh, back })
    }
  })

  function assertEnabled(): void {
    if (!provider.enabled)
      throw new PortalSsoError('provider_unknown', `no enabled provider ${JSON.stringify(slug)}`)
  }

  async function report(
    req: Request,
    res: Response,
    answer: AuthorizationResponse,
    attempt: CompletedAttempt,
    rehearsal: TestAttempt,
  ): Promise<void> {
    const { id, version } = provider
    // What was tried out must be what can be enabled afterwards.
    if (attempt.portal !== portal || attempt.providerId !== id || attempt.version !== version)
      throw new PortalSsoError('provider_changed', 'the rehearsal was begun with other settings')
    await finishTestSignIn(req, res, { provider, answer, attempt, rehearsal })
  }

  /** Judging takes seconds, and in an incident those count. */
  async function assertProviderUnchanged(): Promise<void> {
    const now = await table.find(portal, slug)
    if (!now?.enabled || now.id !== provider.id || now.version !== provider.version)
      throw new PortalSsoError('provider_changed', 'the provider was changed while its answer was judged')
  }

  async function repostFromOwnOrigin(
    req: Request,
    res: Response,
    answer: AuthorizationResponse,
  ): Promise<void> {
    await pages.show(req, res, 'continue', {
      action: urls.path(`/login/${slug}/callback`),
      fields: [...answer.parameters, [repostedField, '1']],
    })
  }

  /** The attempt expired, or was finished in another tab, or the back button brought its answer again. */
  async function handleUsedAttempt(req: Request, res: Response, returnTo: string | undefined): Promise<void> {
    if (!req.user) throw new PortalSsoError('attempt_gone', 'this browser has no such attempt (any more)')
    res.redirect(303, returnTo ?? homePath)
  }

  async function applyDecision(
    req: Request,
    res: Response,
    identity: Identity,
    { returnTo, proving }: Attempt,
  ): Promise<void> {
    const { turn, gone } = await resolveIdentity(identity, portal)
    const admission = { provider, identity, gone, returnTo, proving }
    switch (turn.turn) {
      case 'known':
        return await completeSignIn(req, res, { ...admission, user: turn.user, how: 'known' })
      case 'link':
        return await completeSignIn(req, res, {
          ...admission,
          user: turn.user,
          how: turn.relinked ? 'relinked' : 'linked',
        })
      case 'prove':
        if (!canVerifyEmail)
          throw new PortalSsoError('address_unproven', 'the provider does not vouch for the e-mail address')
        return await startRegistration(req, res, { provider, identity, returnTo })
      case 'register':
        return await startRegistration(req, res, { provider, identity, returnTo })
      case 'refuse':
        throw new PortalSsoError(turn.reason, 'the portal does not let this person in')
    }
  }

  const router = Router()
  router.get('/', begin)
  router.get('/callback', finish)
  router.post('/callback', finish)
  return router
}

export interface ProviderRoutersParts extends ProviderRouterParts {
  portalOf: PortalResolver
}

/**
 * Sends `/login/:provider/…` to that provider's router. The row is read at every click; a new version of it has another
 * client, and with it another strategy. So a change made by any process counts at the next click, with nothing to invalidate.
 */
export function createProviderRouters(parts: ProviderRoutersParts): RequestHandler {
  const { portalOf, refuse, table } = parts

  return asyncHandler(async (req, res, next) => {
    const portal = portalOf(req)
    const provider = await table.find(portal, req.params.provider)
    if (provider && isOpen(provider, req)) {
      // Light, and always of the row as it is now: what is built once for many is the strategy.
      createProviderRouter(provider, parts)(req, res, next)
      return
    }
    // What cannot be a slug is not for the log: it may be anything that somebody pasted, a code say.
    const slug = slugSchema.safeParse(req.params.provider).data
    const named = slug === undefined ? 'of such a name' : JSON.stringify(slug)
    const unknown = new PortalSsoError('provider_unknown', `no enabled provider ${named}`)
    await refuse(req, res, unknown, { portal, returnTo: safeReturnTo(req.query.returnTo) })
  })
}

/** Of a provider that is disabled the callback alone, for an administrator's rehearsal: it looks at the attempt itself. */
function isOpen(provider: Provider, req: Request): boolean {
  return provider.enabled || /^\/callback\/?$/i.test(req.path)
}
