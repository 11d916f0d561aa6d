import { Router } from 'express'
import { type AccountParts, createAccountRoutes } from './account/account-routes.ts'
import { type BreakGlassRoutesParts, createBreakGlassRoutes } from './classic-login/break-glass-routes.ts'
import { type ConsentRoutesParts, createConsentRoutes } from './consent/consent-routes.ts'
import { createGuard, type GuardParts } from './guard.ts'
import { createLimitRoutes, type LimitParts } from './limit-routes.ts'
import { type BackChannelRouteParts, createBackChannelRoute } from './logout/back-channel-route.ts'
import { createFrontChannelRoute, type FrontChannelRouteParts } from './logout/front-channel-route.ts'
import { createLogoutRoutes, type LogoutParts } from './logout/logout-routes.ts'
import { type ClientKeysRouteParts, createClientKeysRoute } from './providers/client-keys-route.ts'
import { createLinkRoutes, type LinkRoutesParts } from './registration/link-routes.ts'
import { createProofRoutes, type ProofRoutesParts } from './registration/proof-routes.ts'
import { createRegistrationRoutes, type RegistrationParts } from './registration/registration-routes.ts'
import { createTicketRoutes, type TicketRoutesParts } from './rehearsal/ticket-routes.ts'
import { createInitiateRoute, type InitiateParts } from './sign-in/initiate-route.ts'
import { createPickerRoute, type PickerParts } from './sign-in/picker-route.ts'
import { createProviderRouters, type ProviderRoutersParts } from './sign-in/provider-routers.ts'
import { keepPrivate } from './web/keep-private.ts'
import type { RateLimits } from './web/rate-limit.ts'

export interface RouterParts
  extends PickerParts,
    ProviderRoutersParts,
    InitiateParts,
    ConsentRoutesParts,
    RegistrationParts,
    LinkRoutesParts,
    LogoutParts,
    BackChannelRouteParts,
    FrontChannelRouteParts,
    ClientKeysRouteParts,
    GuardParts,
    Omit<AccountParts, 'guard'>,
    TicketRoutesParts,
    BreakGlassRoutesParts,
    Omit<LimitParts, 'limits'> {
  rateLimits: RateLimits | false
  /** sends and takes codes; left out where there is nothing to send them with */
  proving: Pick<ProofRoutesParts, 'proofs' | 'sendCodeMail' | 'showProof'> | undefined
}

const ours = ['/login', '/register', '/logout', '/account/security']

/** All routes, in the order in which a request meets them. */
export function createRouter(parts: RouterParts): Router {
  const { form, pages, proving, rateLimits, sessions } = parts
  const routes = Router()
  routes.use('/login/assets', pages.assets)
  routes.use(ours, (_req, res, next) => {
    keepPrivate(res)
    next()
  })
  if (rateLimits) routes.use(createLimitRoutes({ ...parts, limits: rateLimits }))
  // Before anything that looks for a person: a provider comes here itself, without one.
  routes.use(createBackChannelRoute(parts), createFrontChannelRoute(parts))
  routes.use(createClientKeysRoute(parts))
  routes.use(ours, sessions.identify)
  routes.get('/login', createPickerRoute(parts))
  routes.use(createInitiateRoute(parts), createConsentRoutes(parts))
  routes.use(createBreakGlassRoutes(parts), createTicketRoutes(parts))
  // The form is read before the strategy is looked up, so that nothing lies between the two. A provider's post is not of
  // our origin.
  routes.use('/login/:provider', form, createProviderRouters(parts))
  routes.use(createRegistrationRoutes(parts), createLinkRoutes(parts))
  if (proving) routes.use(createProofRoutes({ ...parts, ...proving }))
  routes.use(createLogoutRoutes(parts))
  routes.use(createAccountRoutes({ ...parts, guard: createGuard(parts) }))
  routes.use(pages.onError)
  return routes
}
