/**
 * The values that the templates of the people's pages receive, besides `t`, `lang`, `branding` and `asset`. Templates of a host receive
 * the same. docs/templates.md is generated from these comments: `npm run reference`.
 */
export interface ViewLocals {
  account: AccountLocals
  address: AddressLocals
  'break-glass': BreakGlassLocals
  confirm: ConfirmLocals
  consent: ConsentLocals
  continue: ContinueLocals
  email: EmailLocals
  link: LinkLocals
  onward: OnwardLocals
  picker: PickerLocals
  problem: ProblemLocals
  'prove-account': ProveAccountLocals
  providers: ProvidersLocals
  registration: RegistrationLocals
  'sign-out': SignOutLocals
  'signed-out': SignedOutLocals
  verify: AddressLocals
}

/** The locals of a view. Those of the administrators' pages are not described: they can change with each version. */
export type LocalsOf<View extends string> = View extends keyof ViewLocals ? ViewLocals[View] : object

/** In front of a provider's name: its own logo, the preset's, or a monogram on a coloured tile. */
interface Mark {
  displayName: string
  logoUrl: string | undefined
  logo: string | undefined
  monogram: string
  hue: number
}

/** A time: `at` for machines, `text` for readers. */
interface PageTime {
  at: string
  text: string
}

interface Named {
  displayName: string
}

/** The account at the provider, as its user sees it. */
interface AccountLabel {
  name: string
  email: string | undefined
  emailTrusted: boolean
}

interface Search {
  action: string
  fields?: Record<string, string | undefined> | undefined
  text?: string | undefined
  hasMore: boolean
  none?: boolean
  count?: { shown: number; total: number } | undefined
}

/** A button of the login page. */
interface ProviderButton extends Mark {
  /** the administrator's sentence for new users */
  note: string | undefined
  href: string
  recommended: boolean
  hasProblems: boolean
  lastUsed: boolean
  /** the last day of a provider that is being retired */
  until: string | undefined
  /** not among the results of the search */
  hidden?: boolean
}

export interface PickerLocals {
  /** Key of a text above the list, such as `picker.signedOut`. */
  notice: string | undefined
  /** The buttons: a mark, `note`, `href`, `recommended`, `hasProblems`, `lastUsed`, `until`, and `hidden` if the search leaves it out. */
  providers: ProviderButton[]
  /** Leads to the page that asks for the e-mail address. */
  emailHref: string | undefined
  /** The search above many providers: `action`, hidden `fields`, `text`, `count` of results, and whether there are more or none. */
  search?: Search | undefined
}

export interface ProvidersLocals {
  /** The heading. */
  title: string
  /** Explains the choice. */
  sentence: string
  /** A message above the list. */
  notice?: string | undefined
  /** Leads back. */
  backHref: string
  /** The search above many providers, as on the login page. */
  search: Search | false
  /** The choices: a mark, `label` for screen readers, `note`, and `href`, or `action` that `slug` is posted to. */
  providers: (Mark & {
    slug: string
    label: string
    note?: string | undefined
    href?: string
    action?: string
  })[]
}

export interface EmailLocals extends PickerLocals {
  /** URL that the address is sent to. */
  action: string
  /** Leads to the list of providers. */
  listHref: string | undefined
  /** Fills the field. */
  typed: string
  /** Key of the text about a mistake. */
  error: string | undefined
}

export interface RegistrationLocals {
  /** URL that the form is sent to. */
  action: string
  /** Leads back to the login page. */
  cancelHref: string
  /** The provider that the user signed in with: `displayName`. */
  provider: Named
  /** `value`, and `provenByCode`: confirmed by a code, not by the provider. */
  email: { value: string; provenByCode: boolean }
  /** `value` and `error` of the full name. */
  name: { value: string | undefined; error: string | undefined }
  /** The portal's own fields: `name`, `label`, `type`, `required`, `options`, `value`, `error`. */
  fields: {
    name: string
    label: string
    type: string
    required: boolean
    options: { value: string; label: string }[] | undefined
    value: string | boolean | undefined
    error: string | undefined
  }[]
  /** `href` of the terms, `accepted`, `error`; absent without terms. */
  terms: { href: string; accepted: boolean; error: string | undefined } | undefined
  /** How many entries are wrong. */
  errorCount: number
}

export interface AddressLocals {
  /** The address that the code was sent to. */
  email: string | undefined
  /** Fills the field. */
  typed: string
  /** Whether a code had been sent before. */
  again: boolean
  /** Minutes until the code expires. */
  minutes: number
  /** `sentence` about the form, and `entry`: the same, if it is about the field. */
  error: { sentence: string | undefined; entry: string | undefined }
  /** The account at the provider: `name`, `email`, `emailTrusted`. */
  account: AccountLabel
  /** The provider that the user signed in with: `displayName`. */
  provider: Named
  /** Sent with the form, so that it is about this account. */
  registration?: string
  /** Seconds until a new code may be requested. */
  wait?: number
  /** The signed-in user, if an account is being connected. */
  user: { email: string } | undefined
  /** URL that the code is sent to. */
  action: string
  /** URL that asks for a new code. */
  sendAction: string
  /** Leads to the form for another address. */
  addressHref: string | undefined
  /** Leads back. */
  cancelHref: string
  /** Other sign-in methods of the user, as links. */
  otherWays: object[]
}

export interface LinkLocals {
  /** URL that the answer is sent to: `answer` is `link` or `later`. */
  action: string
  /** The signed-in user: `name` and `email`. */
  user: { name: string; email: string }
  /** The provider of the account: `displayName`. */
  provider: Named
  /** The account at the provider: `name`, `email`, `emailTrusted`. */
  account: AccountLabel
  /** Sent with the answer, so that it is about this account. */
  registration: string
  /** Whether the user asked for it on the account page. */
  asked: boolean
}

export interface ProveAccountLocals {
  /** The account at the provider: `name`, `email`, `emailTrusted`. */
  account: AccountLabel
  /** The provider of the account: `displayName`. */
  provider: Named
  /** The sign-in methods to choose from, as links. */
  otherWays: object[]
  /** Leads back to the login page. */
  cancelHref: string
}

export interface ProblemLocals {
  /** A short name of the problem. */
  title: string
  /** Tells what happened and what helps. */
  sentence: string
  /** Selects the icon. */
  severity?: string
  /** When it happened. */
  time?: PageTime
  /** A request to the user's administrator, where consent is missing. */
  consentRequest?: string | undefined
  /** Finds the log line with the cause; absent if nothing was logged. */
  reference: string | undefined
  /** The links: `href`, `label`, and `primary` for the first one. */
  nextSteps: { href: string; label: string; primary: boolean }[]
  /** Names the support contact, on pages of problems that users cannot solve. */
  supportSentence: string | undefined
}

export interface AccountLocals {
  /** The last part of the key of the text about what was just done. */
  notice: string | undefined
  /** `bad` if it was refused. */
  tone: 'good' | 'bad'
  /** The user: `name` and `email`. */
  user: { name: string; email: string }
  /** URL of the page, which the actions start with. */
  base: string
  /** Leads to the portal. */
  homeHref: string
  /** Leads to the page that signs out. */
  logoutHref: string
  /** The sign-in methods: a mark, `id`, `email`, `available`, `removable`, and the times `linked` and `lastUsed`. */
  methods: object[]
  /** Leads to the list of providers that can be added. */
  addHref: string
  /** The sessions: `id`, `here`, `device`, `location`, `provider`, and the times `started` and `lastSeen`. */
  sessions: {
    id: string
    here: boolean
    icon?: string
    device: string
    location: string | undefined
    started: PageTime
    lastSeen: PageTime
    provider: string | undefined
  }[]
}

export interface ConfirmLocals {
  /** The provider that cannot prove a re-authentication: `displayName`. */
  provider: Named
  /** The address that a code can be sent to. */
  email: string | undefined
  /** Identifies the code that was sent. */
  sent: string | undefined
  /** Fills the field. */
  typed: string
  /** When it was sent. */
  sentAt?: number | undefined
  /** Seconds until a new code may be requested. */
  wait?: number
  /** Minutes until the code expires. */
  minutes: number
  /** `sentence` about the form, and `entry`: the same, if it is about the field. */
  error: { sentence: string | undefined; entry: string | undefined }
  /** URL of the page, which the actions start with. */
  base: string
  /** Leads back to the account page. */
  cancelHref: string
  /** Other sign-in methods that can prove it: `displayName`, `href`. */
  others: (Named & { href: string })[]
}

export interface ConsentLocals {
  /** The provider: `displayName`. */
  provider: Named | undefined
  /** Leads to the login page. */
  loginHref?: string
  /** Whether the browser came from the provider's own button, so that nothing is known about the consent. */
  returned?: boolean
  /** Starts a sign-in with the provider; absent while it is disabled. */
  testHref: string | undefined
}

export interface ContinueLocals {
  /** URL that the form is sent to. */
  action: string
  /** The names and values of the response that the provider posted. */
  fields: readonly (readonly [string, string])[]
}

export interface OnwardLocals {
  /** Where the page leads by itself. */
  href: string
  /** The destination, as the user knows it. */
  name: string
  /** Leads to the other sign-in methods, where the user has not chosen this one. */
  anotherHref?: string
}

export interface SignOutLocals {
  /** URL that the form is sent to. */
  action: string
  /** Leads back to the portal. */
  cancelHref: string
  /** The name of the provider where the sign-out ends the session, too. */
  provider: string | undefined
  /** Whether the user chooses if it does: `where` is `there` or `here`. */
  chooses: boolean
}

export interface SignedOutLocals {
  /** Leads to the login page. */
  loginHref: string
  /** The name of the provider where the session has ended, too. */
  provider?: string | undefined
  /** Offers to end it there: `name`, `href`, `declineHref`. */
  offer?: { name: string; href: string; declineHref: string }
}

export interface BreakGlassLocals {
  /** URL that the form is sent to. */
  action: string
  /** Leads to the login page. */
  cancelHref: string
  /** Minutes for which the classic login is open. */
  minutes: number
  /** The one-time token of the link. */
  token: unknown
}
