import { randomUUID } from 'node:crypto'
import type { Request, Response } from 'express'
import { type Identity, trustedEmail } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import { type CookieCore, SealedCookies } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'

/** A code that was sent. Only the sealed cookie of the user's browser contains its id. */
export interface VerificationCode {
  id: string
  /** normal form */
  email: string
  /** ms; left out by an earlier version */
  at?: number | undefined
}

/** The user's input, kept for the form. It proves nothing. */
export interface RegistrationDraft {
  email?: string | undefined
  /** field of the registration form → value */
  form?: Readonly<Record<string, string>> | undefined
}

/** An identity that waits for the registration form, a verified address, or the user's consent to a link. */
export interface PendingRegistration {
  id: string
  portal: string
  /** slug, id and version of the provider when it vouched: the slug may belong to another provider later */
  provider: string
  providerId: string
  version: number
  identity: Identity
  returnTo?: string | undefined
  /** the code that the user has to enter */
  sent?: VerificationCode | undefined
  draft?: RegistrationDraft | undefined
  /** the address that the user proved by a code */
  provenEmail?: string | undefined
  /** the user who signed in to prove that this identity is theirs */
  provedUserId?: string | undefined
  /** True if that user started it on the account page. It can only be linked to them: it never registers or signs in a user. */
  requestedByUser?: boolean | undefined
  /** True if the address belongs to a user who has another account of the issuer: only a sign-in with that one proves the person. */
  mustProveAccount?: boolean | undefined
}

/** A pending registration, and the provider that vouched for its identity. */
export interface RegistrationStep {
  pending: PendingRegistration
  provider: Provider
}

interface NewPendingRegistration {
  provider: Pick<Provider, 'id' | 'portal' | 'slug' | 'version'>
  identity: Identity
  returnTo: string | undefined
  provedUserId?: string
  requestedByUser?: boolean
  mustProveAccount?: boolean
}

/** for each step */
const stepSeconds = 1800
/** An expired registration only starts again, with its draft. */
const keptSeconds = 4 * 3600
// nginx refuses response headers over 4 KB by default. Status, location and this cookie's name, attributes and seal take the rest.
const headerBytes = 4096 - 930

/**
 * In a sealed cookie, not in a session: an attacker who planted a session id in this browser would find the registration in
 * that session and finish it in their own name.
 */
export class PendingRegistrations {
  readonly #cookies: SealedCookies<PendingRegistration>
  readonly #name: string
  readonly #urls: PortalUrls

  constructor(core: CookieCore) {
    this.#cookies = new SealedCookies(core, 'registration', { ttlSeconds: stepSeconds, keptSeconds })
    this.#name = core.cookieName('registration')
    this.#urls = core.urls
  }

  /** Replaces the registration that is pending in this browser, if any. */
  begin(res: Response, { provider, ...registration }: NewPendingRegistration): void {
    const { id: providerId, portal, slug, version } = provider
    const { identity } = registration
    const previous = this.find(res.req, portal) ?? this.findExpired(res.req, portal)
    // Attacker: another user of this machine, or one who planted their cookie. A draft fills only the form of the same account.
    const isSame =
      previous?.identity.issuer === identity.issuer && previous.identity.subject === identity.subject
    const draft = isSame ? { draft: previous.draft } : {}
    this.save(res, {
      ...registration,
      ...draft,
      id: randomUUID(),
      portal,
      provider: slug,
      providerId,
      version,
    })
  }

  save(res: Response, pending: PendingRegistration): void {
    this.#cookies.set(res, this.#name, this.#shortened(res, pending))
  }

  /** Keeps what the user has typed for the next registration of the same account. It proves nothing and admits nobody. */
  saveExpired(res: Response, pending: PendingRegistration): void {
    this.#cookies.set(res, this.#name, this.#shortened(res, pending), 0)
  }

  #shortened(res: Response, pending: PendingRegistration): PendingRegistration {
    // The host's headers, such as those of helmet, and the used attempt. Sealing adds a third.
    return shorten(pending, ((headerBytes - JSON.stringify(res.getHeaders()).length) * 3) / 4)
  }

  /** @returns the registration that is pending in this browser, if it belongs to the portal */
  find(req: Request, portal: string): PendingRegistration | undefined {
    const pending = this.#cookies.get(req, this.#name)
    return pending?.portal === portal ? pending : undefined
  }

  /** @returns a registration that has expired. A stolen one does no more than the link of the provider on the login page. */
  findExpired(req: Request, portal: string): PendingRegistration | undefined {
    const pending = this.#cookies.getExpired(req, this.#name)
    return pending?.portal === portal ? pending : undefined
  }

  clear(res: Response): void {
    this.#cookies.clear(res, this.#name)
  }

  /**
   * Offers to link the pending registration to the user who signed in to prove their account. On a shared machine it may be
   * another user's: therefore an ordinary sign-in offers nothing, and this one asks before it links.
   *
   * @param proof.registrationId the registration that the sign-in was started for
   * @returns the page that asks; `undefined` if there is nothing to offer
   */
  async offerAccountLink(
    req: Request,
    res: Response,
    proof: { portal: string; userId: string; registrationId: string },
  ): Promise<string | undefined> {
    const { portal, userId, registrationId } = proof
    const pending = await this.find(req, portal)
    // A registration from the account page belongs to the user who requested it.
    if (pending?.id !== registrationId || pending.requestedByUser) return undefined
    this.save(res, { ...pending, provedUserId: userId })
    return this.#urls.path('/register/link')
  }
}

/**
 * Drops what a registration can do without, as far as necessary: without the hint a logout asks again, a draft can be
 * typed again, without the deep link the user lands on the start page, and a missing name can be typed.
 */
function shorten(pending: PendingRegistration, maxBytes: number): PendingRegistration {
  const withoutHint = { ...pending, identity: { ...pending.identity, logoutHint: '' } }
  const withoutDraft = { ...withoutHint, draft: undefined }
  const withoutLink = { ...withoutDraft, returnTo: undefined }
  const withoutName = { ...withoutLink, identity: { ...withoutHint.identity, name: undefined } }
  for (const candidate of [pending, withoutHint, withoutDraft, withoutLink])
    if (Buffer.byteLength(JSON.stringify(candidate)) <= maxBytes) return candidate
  return withoutName
}

/**
 * Names the account at the provider on every page that may link it, because on a shared machine it may be another user's. Never
 * only by the address: an attacker can claim an address that looks like the reader's own.
 */
export function accountLabel({ identity }: PendingRegistration) {
  const { name, email, emailTrusted, subject } = identity
  return { name: name ?? subject, email, emailTrusted }
}

/** The address to register with, once it is trusted. */
export function registrationEmail({ identity, provenEmail }: PendingRegistration): string | undefined {
  return trustedEmail(identity, provenEmail)
}
