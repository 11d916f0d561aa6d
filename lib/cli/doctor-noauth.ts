import { Command } from 'commander'
import { type Claims, identityFrom, trustedEmail } from '../oidc/identity.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { decide } from '../sign-in/decide.ts'
import type { User } from '../users/user-directory.ts'
import { type SsoContext, withSsoContext } from './environment.ts'
import { printCheck, printHeading, printJson } from './output.ts'

/**
 * Somebody signs in with an account of his own at a provider, and has it claim an address that is another person's (nOAuth).
 * Each is played against a row by the very code that judges sign-ins; only the look into the tables is made up: there is a
 * user with that address.
 */
interface Attack {
  name: string
  /** what the attacker comes with */
  with: string
  /** left out: it can be tried at every provider */
  fits?(provider: Provider): boolean
  /** whose address is claimed; default: one that the row may vouch for, where it may not do so for all */
  victim?(provider: Provider): string
  /** what the ID token says beside who it is from and for */
  claims(victim: string, provider: Provider): Claims
  userInfo?(victim: string, provider: Provider): Claims
}

const attackersOwn = 'attacker@attacker.example'
const foreignTenant = '0badc0de-0000-4000-8000-00000000dead'
// "Personal accounts" is a tenant, too: everybody's.
const tenantOfEverybody = '9188040d-6c67-4c5b-b112-36a304b66dad'

/** Where anybody can have an account, with whatever address could be verified some day. */
const openHosts = [
  'accounts.google.com',
  'api.login.yahoo.com',
  'appleid.apple.com',
  'gitlab.com',
  'www.facebook.com',
  'www.linkedin.com',
]

/** Entra's of the world and of the national clouds, and of its older tokens (`sts.windows.net`). */
const microsoftHosts = [
  'login.microsoftonline.com',
  'login.microsoftonline.us',
  'login.partner.microsoftonline.cn',
  'login.windows.net',
  'sts.chinacloudapi.cn',
  'sts.windows.net',
]

const attacks: readonly Attack[] = [
  {
    name: 'unverified',
    with: 'an unverified address (email_verified false)',
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: false }),
  },
  {
    name: 'unsaid',
    with: 'an address without email_verified',
    claims: (email, provider) => ({ [provider.emailClaim]: email }),
  },
  {
    name: 'text',
    with: 'an unverified address, with the flag as text (email_verified "false")',
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: 'false' }),
  },
  {
    name: 'borrowed',
    with: 'an address from UserInfo, and email_verified from the ID token',
    claims: () => ({ email_verified: true }),
    userInfo: (email, provider) => ({ [provider.emailClaim]: email }),
  },
  {
    name: 'username',
    with: 'a user name equal to the address (preferred_username, upn), with another verified address',
    claims: (email) => ({ email: attackersOwn, email_verified: true, preferred_username: email, upn: email }),
  },
  {
    name: 'anybody',
    with: 'an account that anyone can create, with an address that was verified there once',
    fits: isOpen,
    victim: elsewhere,
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: true }),
  },
  {
    name: 'other-domain',
    with: 'a verified address of a domain that the settings do not list',
    fits: ({ emailDomains }) => emailDomains.length > 0,
    victim: elsewhere,
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: true, xms_edov: true }),
  },
  {
    name: 'tenant',
    with: 'an address set by a tenant administrator (email_verified true, without xms_edov)',
    fits: isMicrosoft,
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: true }),
  },
  {
    name: 'edov-false',
    with: "an address of a domain that is not the tenant's (xms_edov false)",
    fits: isMicrosoft,
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: true, xms_edov: false }),
  },
  {
    name: 'edov-text',
    with: 'an address of a domain that is not the tenant\'s, with the flag as text (xms_edov "0")',
    fits: isMicrosoft,
    claims: (email, provider) => ({ [provider.emailClaim]: email, email_verified: true, xms_edov: '0' }),
  },
]

/** @returns a line for each attack that can be tried at this provider: `failed` where it is let through */
export function playNoauth(provider: Provider): Check[] {
  const played = attacks
    .filter(({ fits }) => fits?.(provider) ?? true)
    .map((attack) => play(attack, provider))
  return [...played, ...aboutTrust(provider)]
}

function play(attack: Attack, provider: Provider): Check {
  const victim = `victim@${(attack.victim ?? vouchedDomain)(provider)}`
  const { result, what } = outcome(attack, provider, victim)
  const message = `${attack.with}: ${what}`
  return {
    name: attack.name,
    result,
    message,
    ...(result !== 'ok' && { hint: remedyFor(attack, provider) }),
  }
}

function outcome(
  attack: Attack,
  provider: Provider,
  victim: string,
): Pick<Check, 'result'> & { what: string } {
  const user: User = { id: 'victim', email: victim, name: 'Victim' }
  const now = Math.floor(Date.now() / 1000)
  try {
    const idClaims = { ...whoItIs(provider, now), ...attack.claims(victim, provider) }
    const userInfo = attack.userInfo?.(victim, provider)
    const identity = identityFrom(provider, '', idClaims, userInfo, {
      now,
      tolerance: 30,
      askedAt: now * 1000,
    })
    const address = trustedEmail(identity, undefined)
    const userWithAddress = address === victim ? user : undefined
    const { kind } = decide({ address, linkedUser: undefined, userWithAddress, registrationOpen: true })
    if (kind === 'link') return { result: 'failed', what: 'signed in as the owner of the address' }
    const stopped =
      kind === 'verify-email'
        ? 'a code goes to the owner of the address'
        : 'the attacker only gets an account of their own'
    return { result: 'ok', what: `stopped, ${stopped}` }
  } catch (error) {
    return { result: 'ok', what: `refused, ${describeError(error)}` }
  }
}

/** Claims that are right: the attacker has an account, of a tenant that may come in. */
function whoItIs(provider: Provider, now: number): Claims {
  const named = tenantIn(provider)
  const tid = provider.tenants[0] ?? (isGuid(named) ? named : foreignTenant)
  return {
    iss: isMicrosoft(provider) ? provider.issuer.replace(`/${named}/`, `/${tid}/`) : provider.issuer,
    sub: 'attacker',
    aud: provider.clientId,
    iat: now,
    exp: now + 300,
    ...(isMicrosoft(provider) && { tid, oid: foreignTenant }),
  }
}

function remedyFor({ name }: Attack, provider: Provider): string {
  if (provider.trustsEmail && isOpen(provider))
    return 'turn off trustsEmail: anyone can have an account there, with any address'
  if (provider.trustsEmail || name === 'anybody')
    return 'list the domains that you trust it for (emailDomains); people of other domains then confirm their address with a code'
  if (isMicrosoft(provider) && provider.preset !== 'entra')
    return 'connect it again with the preset entra, which handles Microsoft’s claims correctly'
  return 'disable it, and report this as a bug: no setting explains it'
}

function aboutTrust({ trustsEmail, emailDomains }: Provider): Check[] {
  if (!trustsEmail) return []
  const name = 'trust'
  if (emailDomains.length > 0)
    return [
      {
        name,
        result: 'ok',
        message: `every address is trusted, verified or not, for ${emailDomains.join(', ')} only`,
      },
    ]
  return [
    {
      name,
      result: 'warning',
      message:
        'every address is trusted (trustsEmail without emailDomains): anyone who can set addresses there can sign in as anyone',
      hint: 'list the domains whose addresses your own administrators assign there, or turn off trustsEmail',
    },
  ]
}

/** Where the row names domains and trusts them, an address of these is no attack but what was asked for. */
function vouchedDomain(provider: Provider): string {
  const trusted = provider.trustsEmail && !isOpen(provider)
  return trusted ? elsewhere(provider) : (provider.emailDomains[0] ?? elsewhere(provider))
}

function elsewhere({ emailDomains }: Provider): string {
  let domain = 'elsewhere.example'
  while (emailDomains.includes(domain)) domain = `not-${domain}`
  return domain
}

function isOpen(provider: Provider): boolean {
  if (openHosts.includes(new URL(provider.issuer).hostname)) return true
  const tenants = provider.tenants.length > 0 ? provider.tenants : [tenantIn(provider)]
  return isMicrosoft(provider) && tenants.some((tenant) => !isGuid(tenant) || tenant === tenantOfEverybody)
}

/** Whatever preset it was connected with. */
function isMicrosoft({ preset, issuer }: Provider): boolean {
  return preset === 'entra' || microsoftHosts.includes(new URL(issuer).hostname)
}

function tenantIn({ issuer }: Provider): string {
  return new URL(issuer).pathname.split('/')[1] ?? ''
}

function isGuid(text: string): boolean {
  return /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)
}

interface Flags {
  portal?: string
  json?: boolean
}

type Played = Pick<Provider, 'portal' | 'slug' | 'displayName' | 'enabled'> & { checks: Check[] }

export function doctorNoauthCommand(): Command {
  return new Command('noauth')
    .description(
      "simulate sign-ins with someone else's e-mail address (nOAuth) against the settings of every provider",
    )
    .option('--portal <name>', 'portal to check; default: all')
    .option('--json', 'print JSON, for scripts')
    .addHelpText(
      'after',
      `
Nothing is sent or changed. The exit code is 1 if a provider would let an attack through.

Example:
  $ portal-sso doctor noauth --json | jq '.[] | select(any(.checks[]; .result == "failed")) | .slug'`,
    )
    .action((flags: Flags) => withSsoContext((context) => doctorNoauth(context, flags)))
}

/** Disabled rows, too: it is better to know before they are enabled. */
async function doctorNoauth({ knex, sso }: SsoContext, { portal, json }: Flags): Promise<void> {
  const portals = portal
    ? [portal]
    : await knex('sso_providers').distinct('portal').orderBy('portal').pluck('portal')
  const providers = (
    await Promise.all(portals.map((name: string) => sso.providers.list({ portal: name })))
  ).flat()
  const played = providers.map((provider): Played => {
    const { slug, displayName, enabled } = provider
    return { portal: provider.portal, slug, displayName, enabled, checks: playNoauth(provider) }
  })
  const open = played.filter(({ checks }) => checks.some(({ result }) => result === 'failed'))
  if (open.length > 0) process.exitCode = 1
  if (json) return printJson(played)
  if (played.length === 0) return console.log('No provider is connected, so there is nothing to check.')
  played.forEach(print)
  console.log(
    open.length === 0
      ? '\nNo provider lets an attack through.'
      : `\nThese providers let an attack through: ${open.map(({ slug }) => slug).join(', ')}.`,
  )
}

function print({ portal, slug, displayName, enabled, checks }: Played): void {
  const where = portal === 'default' ? '' : ` of portal ${portal}`
  printHeading(`Provider ${slug}${where} (${displayName}${enabled ? '' : ', disabled'})`)
  const said = new Set<string>()
  for (const { hint, ...check } of checks) {
    // Many attacks, one hint: once is enough.
    printCheck(hint === undefined || said.has(hint) ? check : { ...check, hint })
    if (hint !== undefined) said.add(hint)
  }
}
