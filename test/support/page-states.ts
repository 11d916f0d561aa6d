import ejs from 'ejs'
import type { Page } from 'playwright-core'
import type { PortalSsoOptions } from '../../lib/index.ts'
import { presets } from '../../lib/providers/presets/presets.ts'
import { contoso, type EntraLookAlike, startEntraLookAlike } from './entra-look-alike.ts'
import { type FaultyProvider, startFaultyProvider } from './faulty-provider.ts'
import { pngOf } from './images.ts'
import { mountDefault, startPortal, type TestPortal } from './portal.ts'
import { copyProvider } from './providers.ts'
import { Visitor } from './visitor.ts'

/** The parts of all states: a portal with its providers, users, sessions and events. */
export interface Scene {
  portal: TestPortal
  provider: FaultyProvider
  /** Tailspin Accounts */
  other: FaultyProvider
  entra: EntraLookAlike
  /** templates that were rendered, such as `picker` and `partials/head` */
  rendered: Set<string>
  /** the last code that was mailed */
  code: string
  /** its HTML, or that of another mail */
  mail: string
  close(): Promise<void>
}

/** A page in one of its states. To add one, add an entry to `peopleStates` or `adminStates`. */
export interface PageState {
  name: string
  /** Opens the page in a browser without cookies. */
  open(page: Page, scene: Scene): Promise<unknown>
  /** which portal of the scene; default: the one with five providers */
  portal?: 'single' | 'two' | 'some' | 'many' | 'none'
  /** The same page as another state, with other texts: no screenshot, and its colours are not examined again. */
  sameLook?: true
}

const usualNote = 'New here? Use this one.'
const ada = { email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }
const grace = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace Hopper' }
const mallory = { ...grace, sub: 'mallory', email: 'ada@example.com', email_verified: false }
const account = '/account/security'

/** Opens a portal's path, and fails if no page of ours appears. */
async function open(page: Page, { portal }: Scene, path: string): Promise<void> {
  await page.goto(new URL(path, portal.url).href)
  await page.locator('h1').waitFor()
}

/** Presses the first button of the page's first form with a primary button, else of its first form. */
async function submit(page: Page): Promise<void> {
  const primary = page.locator('main form .sso-button-primary')
  const buttons = (await primary.count()) > 0 ? primary : page.locator('main form button')
  await Promise.all([page.waitForEvent('load'), buttons.first().click()])
  await page.locator('h1').waitFor()
}

/** Lets the server find the mistakes. */
async function withoutBrowserChecks(page: Page): Promise<void> {
  await page.evaluate(() => {
    for (const form of document.forms) form.noValidate = true
  })
}

async function arrive(
  page: Page,
  scene: Scene,
  person: typeof grace | typeof mallory | object,
  slug = 'northwind',
) {
  scene.provider.person = { sub: 'someone', ...person }
  await open(page, scene, `/login/${slug}?returnTo=${account}`)
}

async function arriveAsAda(page: Page, scene: Scene, path = account, slug = 'northwind'): Promise<void> {
  scene.provider.person = { sub: 'ada', email: ada.email, email_verified: true, name: ada.name }
  await open(page, scene, `/login/${slug}?returnTo=${encodeURIComponent(path)}`)
}

async function enterCode(page: Page, code: string): Promise<void> {
  await page.locator('#field-code').fill(code)
  await submit(page)
}

/** Opens a page while Northwind fails, and has a logo and a note. Other states do not see this. */
async function openWithMarks(page: Page, scene: Scene, path: string): Promise<void> {
  const { knex, sso } = scene.portal
  const { id: provider_id } = await sso.providers.get('northwind')
  const at = '2026-01-02T03:04:05.000Z'
  const outage = { failing_since: at, endpoint: 'token', fault: 'unreachable', checked_at: at }
  const noteTo = (note: string) => knex('sso_providers').where({ id: provider_id }).update({ note })
  // A failed sign-in of an earlier state may have left a suspicion.
  const failing = { provider_id, ...outage, claimed_at: at, due_at: '2999-01-01' }
  await knex('sso_provider_health').insert(failing).onConflict('provider_id').merge()
  await sso.providers.setLogo('northwind', pngOf(96, 64))
  await noteTo('New here? Use Northwind ID. Every employee has an account there.')
  await open(page, scene, path)
  await page.locator('.sso-own-logo').evaluate((image) => (image as HTMLImageElement).decode())
  await noteTo(usualNote)
  await sso.providers.removeLogo('northwind')
  await knex('sso_provider_health').where({ provider_id }).delete()
}

export const peopleStates: PageState[] = [
  { name: 'picker', open: (page, scene) => open(page, scene, '/login') },
  { name: 'picker-one-provider', portal: 'single', open: (page, scene) => open(page, scene, '/login') },
  { name: 'picker-two-providers', portal: 'two', open: (page, scene) => open(page, scene, '/login') },
  { name: 'picker-email', portal: 'many', open: (page, scene) => open(page, scene, '/login') },
  {
    name: 'picker-email-last-used',
    portal: 'many',
    async open(page, scene) {
      const { url } = scene.portal
      await page.context().addCookies([{ name: 'sso-last-provider', value: 'p7', url }])
      await open(page, scene, '/login')
    },
  },
  {
    name: 'picker-email-error',
    portal: 'many',
    open: async (page, scene) => {
      await open(page, scene, '/login')
      await withoutBrowserChecks(page)
      await page.locator('#field-email').fill('ada')
      await submit(page)
    },
  },
  {
    name: 'picker-email-unmatched',
    portal: 'many',
    open: async (page, scene) => {
      await open(page, scene, '/login')
      await page.locator('#field-email').fill('ada@nowhere.example')
      await submit(page)
    },
  },
  {
    name: 'picker-25-providers',
    portal: 'some',
    open: (page, scene) => open(page, scene, '/login?by=list'),
  },
  {
    name: 'picker-many-providers',
    portal: 'many',
    open: (page, scene) => open(page, scene, '/login?by=list'),
  },
  { name: 'picker-search', portal: 'many', open: (page, scene) => open(page, scene, '/login?q=company+3') },
  { name: 'picker-no-match', portal: 'many', open: (page, scene) => open(page, scene, '/login?q=nobody') },
  { name: 'picker-problems', open: (page, scene) => openWithMarks(page, scene, '/login') },
  {
    name: 'picker-arabic-languages',
    open: async (page, scene) => {
      await open(page, scene, '/login?lang=ar')
      await page.locator('.sso-languages summary').click()
    },
  },
  {
    name: 'picker-after-sign-out',
    open: async (page, scene) => {
      await arriveAsAda(page, scene, '/logout', 'tailspin')
      await submit(page)
      await open(page, scene, '/login')
    },
  },
  { name: 'registration', open: (page, scene) => arrive(page, scene, grace) },
  {
    name: 'registration-error',
    open: async (page, scene) => {
      await arrive(page, scene, grace)
      await page.locator('#field-name').fill('')
      await submit(page)
    },
  },
  { name: 'address', open: (page, scene) => arrive(page, scene, { name: 'Alan Turing' }) },
  {
    name: 'address-error',
    open: async (page, scene) => {
      await arrive(page, scene, { name: 'Alan Turing' })
      await page.locator('#field-email').fill('alan')
      await submit(page)
    },
  },
  {
    name: 'code',
    open: async (page, scene) => {
      await arrive(page, scene, mallory)
      await submit(page)
    },
  },
  {
    name: 'code-error',
    open: async (page, scene) => {
      await arrive(page, scene, mallory)
      await submit(page)
      await enterCode(page, 'AAAA-AAAA')
    },
  },
  {
    name: 'other-sign-ins',
    open: async (page, scene) => {
      await arrive(page, scene, mallory)
      await open(page, scene, '/register/sign-in')
    },
  },
  {
    name: 'connect-account',
    open: async (page, scene) => {
      scene.other.person = mallory
      await open(page, scene, '/login/tailspin')
      await open(page, scene, '/register/sign-in')
      await page.getByRole('link', { name: /Northwind ID/ }).click()
      await page.waitForURL(/\/register\/link/)
    },
  },
  {
    name: 'prove-account',
    open: async (page, scene) => {
      await arrive(page, scene, mallory)
      await submit(page)
      await enterCode(page, scene.code)
    },
  },
  {
    name: 'account',
    open: (page, scene) => arriveAsAda(page, scene),
  },
  {
    name: 'account-notice',
    open: async (page, scene) => {
      await arriveAsAda(page, scene)
      await open(page, scene, `${account}?notice=unlinked`)
    },
  },
  {
    name: 'account-problem',
    open: async (page, scene) => {
      await arriveAsAda(page, scene)
      await open(page, scene, `${account}?notice=last`)
    },
  },
  {
    name: 'account-many-providers',
    portal: 'many',
    open: (page, scene) => arriveAsAda(page, scene, account, 'p'),
  },
  {
    name: 'account-add',
    open: (page, scene) => arriveAsAda(page, scene, `${account}/add`),
  },
  {
    name: 'account-add-many-providers',
    portal: 'many',
    open: (page, scene) => arriveAsAda(page, scene, `${account}/add`, 'p'),
  },
  {
    name: 'account-confirm',
    open: (page, scene) => arriveAsAda(page, scene, `${account}/confirm`, 'fabrikam'),
  },
  { name: 'sign-out', open: (page, scene) => arriveAsAda(page, scene, '/logout') },
  { name: 'sign-out-choice', open: (page, scene) => arriveAsAda(page, scene, '/logout', 'fabrikam') },
  { name: 'signed-out', open: (page, scene) => open(page, scene, '/logout/done') },
  {
    name: 'sign-out-at-provider',
    open: async (page, scene) => {
      await arriveAsAda(page, scene, '/logout')
      await page.route(`${scene.provider.issuer}/**`, (route) => route.fulfill({ status: 204 }))
      await submit(page)
    },
  },
  {
    name: 'continue',
    open: async (page, scene) => {
      await page.route(/continue\.js/, (route) => route.fulfill({ body: '', contentType: 'text/javascript' }))
      await open(page, scene, '/login/contoso')
    },
  },
  {
    name: 'consent-given',
    open: (page, scene) => open(page, scene, '/login/entra/callback?admin_consent=True&tenant=x'),
  },
  {
    name: 'consent-before-enabled',
    sameLook: true,
    open: (page, scene) => open(page, scene, '/login/nobody/callback?admin_consent=True&tenant=x'),
  },
  {
    name: 'problem-consent',
    open: async (page, scene) => {
      scene.entra.faults.authorizeError = { error: 'consent_required' }
      await open(page, scene, '/login/entra')
      await page.locator('details.sso-request summary').click()
    },
  },
  {
    name: 'break-glass',
    open: async (page, scene) => {
      const { url } = await scene.portal.sso.breakGlass.link({ actor: 'an administrator' })
      await open(page, scene, url)
    },
  },
  { name: 'problem-not-found', open: (page, scene) => open(page, scene, '/login/nobody') },
  {
    name: 'problem-cancelled',
    open: async (page, scene) => {
      scene.provider.faults.authorizeError = { error: 'access_denied' }
      await open(page, scene, '/login/northwind?returnTo=/portal')
    },
  },
  {
    name: 'problem-provider',
    open: async (page, scene) => {
      scene.provider.faults.tokenError = { status: 500, body: {} }
      await open(page, scene, '/login/northwind')
    },
  },
  { name: 'problem-outage', open: (page, scene) => open(page, scene, '/login/adventure') },
  {
    name: 'problem-closed',
    portal: 'single',
    open: (page, scene) => arrive(page, scene, grace, 'only'),
  },
  {
    name: 'problem-deactivated',
    open: (page, scene) => arrive(page, scene, { ...grace, sub: 'gone', email: 'gone@example.com' }),
  },
  {
    name: 'test-sign-in-link',
    open: async (page, scene) =>
      open(page, scene, (await scene.portal.sso.testSignIns.link('northwind', { actor: 'ada' })).url),
  },
]

const adminStates: PageState[] = [
  { name: 'admin-list', open: (page, scene) => open(page, scene, '/admin/sso/') },
  { name: 'admin-list-empty', portal: 'none', open: (page, scene) => open(page, scene, '/admin/sso/') },
  { name: 'admin-list-many', portal: 'many', open: (page, scene) => open(page, scene, '/admin/sso/') },
  { name: 'admin-choose', open: (page, scene) => open(page, scene, '/admin/sso/new') },
  { name: 'admin-connect-entra', open: (page, scene) => open(page, scene, '/admin/sso/new/entra') },
  { name: 'admin-connect-generic', open: (page, scene) => open(page, scene, '/admin/sso/new/generic') },
  {
    name: 'admin-connect-error',
    open: async (page, scene) => {
      await open(page, scene, '/admin/sso/new/okta')
      await page.locator('#field-clientId').fill('0oa1')
      await withoutBrowserChecks(page)
      await submit(page)
    },
  },
  { name: 'admin-trust', open: (page, scene) => open(page, scene, '/admin/sso/draft/trust') },
  { name: 'admin-test-step', open: (page, scene) => open(page, scene, '/admin/sso/draft/test-sign-in') },
  { name: 'admin-guide', open: (page, scene) => open(page, scene, '/admin/sso/new/entra/guide') },
  ...presets
    .filter(({ name }) => name !== 'entra')
    .map(
      ({ name }): PageState => ({
        name: `admin-guide-${name}`,
        sameLook: true,
        open: (page, scene) => open(page, scene, `/admin/sso/new/${name}/guide`),
      }),
    ),
  { name: 'admin-provider', open: (page, scene) => open(page, scene, '/admin/sso/northwind') },
  {
    name: 'admin-provider-problems',
    open: (page, scene) => openWithMarks(page, scene, '/admin/sso/northwind'),
  },
  { name: 'admin-provider-draft', open: (page, scene) => open(page, scene, '/admin/sso/draft') },
  { name: 'admin-edit', open: (page, scene) => open(page, scene, '/admin/sso/northwind/edit') },
  { name: 'admin-edit-logo', open: (page, scene) => openWithMarks(page, scene, '/admin/sso/northwind/edit') },
  {
    name: 'admin-edit-logo-error',
    open: async (page, scene) => {
      await open(page, scene, '/admin/sso/northwind/edit')
      await withoutBrowserChecks(page)
      await page.locator('form[enctype] button').click()
      await page.locator('#field-logo-error').waitFor()
    },
  },
  {
    name: 'admin-edit-error',
    open: async (page, scene) => {
      await open(page, scene, '/admin/sso/northwind/edit')
      await withoutBrowserChecks(page)
      await page.locator('#field-displayName').fill('')
      await submit(page)
    },
  },
  { name: 'admin-claims', open: (page, scene) => open(page, scene, '/admin/sso/northwind/what-is-read') },
  { name: 'admin-disable', open: (page, scene) => open(page, scene, '/admin/sso/northwind/disable') },
  { name: 'admin-remove', open: (page, scene) => open(page, scene, '/admin/sso/northwind/remove') },
  { name: 'admin-sessions', open: (page, scene) => open(page, scene, '/admin/sso/sessions') },
  {
    name: 'admin-sessions-of-user',
    open: async (page, scene) => {
      const { id } = (await scene.portal.sso.users.findByEmail(ada.email))!
      await open(page, scene, `/admin/sso/sessions?user=${id}`)
    },
  },
  {
    name: 'admin-sessions-of-provider',
    open: (page, scene) => open(page, scene, '/admin/sso/sessions?provider=northwind'),
  },
  {
    name: 'admin-unlink',
    async open(page, scene) {
      const [{ id, user_id: user }] = await scene.portal
        .knex('sso_identities')
        .select('id', 'user_id')
        .limit(1)
      await open(page, scene, `/admin/sso/sessions/unlink?${new URLSearchParams({ user, id })}`)
    },
  },
  {
    name: 'admin-progress',
    async open(page, scene) {
      const id = '00000000-0000-4000-8000-000000000000'
      const selection = '{"portal":"default","provider":"elsewhere"}'
      // Not abandoned, whatever the maintenance does.
      const ending = { id, selection, requested_at: '2099-01-01T00:00:00.000Z', total: 100_000, done: 17_250 }
      await scene.portal.knex('sso_session_endings').insert(ending).onConflict('id').ignore()
      // The page must stay while it is examined.
      await page.route('**/sessions/ending?**', async (route) => {
        const response = await route.fetch()
        const body = (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '')
        await route.fulfill({ response, body })
      })
      await open(page, scene, `/admin/sso/sessions/ending?provider=northwind&id=${id}`)
    },
  },
  {
    name: 'admin-end-sessions',
    open: (page, scene) => open(page, scene, '/admin/sso/sessions/end?provider=northwind'),
  },
  { name: 'admin-events', open: (page, scene) => open(page, scene, '/admin/sso/events') },
  { name: 'admin-events-none', open: (page, scene) => open(page, scene, '/admin/sso/events?user=nobody') },
  {
    name: 'admin-test-sign-in-passed',
    open: async (page, scene) => {
      scene.provider.person = { sub: 'ada', email: ada.email, email_verified: true, name: ada.name }
      await open(page, scene, (await scene.portal.sso.testSignIns.link('northwind', { actor: 'ada' })).url)
      await submit(page)
      await page.locator('.sso-report').waitFor()
    },
  },
  {
    name: 'admin-test-sign-in-failed',
    open: async (page, scene) => {
      scene.provider.faults.claims = { aud: 'another client' }
      await open(page, scene, (await scene.portal.sso.testSignIns.link('northwind', { actor: 'ada' })).url)
      await submit(page)
      await page.locator('.sso-report').waitFor()
    },
  },
  {
    name: 'admin-test-sign-in-draft',
    open: async (page, scene) => {
      await open(page, scene, '/admin/sso/draft/test-sign-in')
      await submit(page)
      await page.locator('.sso-report').waitFor()
    },
  },
]

async function openMail(page: Page, { mail }: Scene): Promise<void> {
  // A page of the portal would allow no inline styles.
  await page.goto('about:blank')
  await page.setContent(mail)
}

/** Mails have no landmarks, so the checks of pages do not apply to them. */
export const mailStates: (PageState & { admin: boolean })[] = [
  {
    name: 'mail-code',
    admin: false,
    async open(page, scene) {
      await arrive(page, scene, mallory)
      await submit(page)
      await openMail(page, scene)
    },
  },
  {
    name: 'mail-method',
    admin: false,
    async open(page, scene) {
      await scene.portal.knex('sso_identities').where({ issuer: scene.other.issuer }).delete()
      scene.mail = ''
      await open(page, scene, `/login/tailspin?returnTo=${account}`)
      // No response waits for this mail.
      while (!scene.mail) await page.waitForTimeout(20)
      await openMail(page, scene)
    },
  },
  {
    name: 'mail-expiry',
    admin: true,
    async open(page, scene) {
      const { knex, sso } = scene.portal
      const expireAt = (client_secret_expires_at: string | null) =>
        knex('sso_providers')
          .where({ portal: 'default', slug: 'tailspin' })
          .update({ client_secret_expires_at, expiry_warned: null })
      await expireAt(new Date(Date.now() + 20.5 * 86_400_000).toISOString())
      scene.mail = ''
      await sso.runMaintenance()
      await expireAt(null)
      await openMail(page, scene)
    },
  },
]

export const pageStates: (PageState & { admin: boolean })[] = [
  ...peopleStates.map((state) => ({ ...state, admin: false })),
  ...adminStates.map((state) => ({ ...state, admin: true })),
]

/** Removes what an earlier state left, and opens this one. */
export async function openState(page: Page, scene: Scene, state: PageState): Promise<void> {
  scene.provider.reset()
  scene.other.reset()
  // An address gets a few codes an hour.
  await scene.portal.knex('sso_email_verifications').delete()
  delete scene.entra.faults.authorizeError
  await failSince(scene, 'adventure')
  await page.unrouteAll()
  await page.context().clearCookies()
  if (state.portal)
    await page.context().addCookies([{ name: 'test-portal', value: state.portal, url: scene.portal.url }])
  await state.open(page, scene)
}

const template = /([\w-]+(?:\/[\w-]+)*)\.ejs$/

/** Starts the scene. @param options of the portal, such as another branding */
export async function startScene(options: Partial<PortalSsoOptions> = {}): Promise<Scene> {
  const [provider, other, entra] = await Promise.all([
    startFaultyProvider(),
    startFaultyProvider({ clientId: 'other' }),
    startEntraLookAlike(),
  ])
  const scene: Scene = {
    portal: await startPortal({
      // Another site than the providers', so that posted responses arrive without cookies.
      host: 'localhost',
      branding: {
        name: 'Equipment Portal',
        support: 'it-help@example.com',
        links: [
          { label: { en: 'Imprint', de: 'Impressum' }, href: '/imprint' },
          { label: { en: 'Privacy', de: 'Datenschutz' }, href: '/privacy' },
        ],
      },
      portal: (req) => /test-portal=(\w+)/.exec(req.headers.cookie ?? '')?.[1] ?? 'default',
      registration: (_identity, portal) => portal !== 'single',
      registrationFields: [
        { name: 'phone', label: 'Phone', type: 'tel', required: true },
        {
          name: 'team',
          label: 'Department',
          type: 'select',
          required: true,
          options: [
            { value: 'it', label: 'IT' },
            { value: 'sales', label: 'Sales' },
          ],
        },
        { name: 'news', label: 'Send me news', type: 'checkbox' },
      ],
      registrationTerms: '/terms',
      mailer: async ({ text, html }) => {
        scene.code = /\b[A-Z0-9]{4}-[A-Z0-9]{4}\b/.exec(String(text))?.[0] ?? scene.code
        scene.mail = String(html)
      },
      mailFrom: 'Equipment Portal <no-reply@example.com>',
      adminMail: 'it-help@example.com',
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: () => true }))
      },
      ...options,
    }),
    provider,
    other,
    entra,
    rendered: watchTemplates(),
    code: '',
    mail: '',
    close: async () => {
      await Promise.all([scene.portal.close(), provider.close(), other.close(), entra.close()])
    },
  }
  await furnish(scene)
  return scene
}

/** Notes which templates are rendered, so that a test can find those that no state shows. */
function watchTemplates(): Set<string> {
  const rendered = new Set<string>()
  const render = ejs.render.bind(ejs)
  Object.assign(ejs, {
    render: (text: string, data: object, options: { filename: string }) => {
      const [, name = ''] = template.exec(options.filename.replace(/^.*\/views\//, '')) ?? []
      rendered.add(name)
      return render(text, data, options)
    },
  })
  return rendered
}

async function furnish(scene: Scene): Promise<void> {
  const { portal, provider, other, entra } = scene
  const { sso, knex } = portal
  const gone = { ...ada, email: 'gone@example.com', name: 'Gone' }
  for (const user of [ada, gone]) await sso.users.create(user)
  await sso.portal('many').users.create(ada)
  await knex('sso_users').where({ email: gone.email }).update({ active: false })
  const connect = (slug: string, displayName: string, more: object = {}) =>
    portal.connect(provider, { slug, displayName, emailDomains: ['example.com'], ...more })
  await connect('northwind', 'Northwind ID', { note: usualNote })
  await portal.connect(other, { slug: 'tailspin', displayName: 'Tailspin Accounts', logout: 'portal' })
  await connect('fabrikam', 'Fabrikam', { logout: 'ask' })
  await connect('contoso', 'Contoso', { responseMode: 'form_post' })
  await connect('draft', 'A provider with a name that needs more than one line on a small screen', {
    enabled: false,
  })
  await portal.connect(entra, { ...entra.row(contoso), slug: 'entra', displayName: 'Microsoft' })
  await portal.connect(other, { slug: 'adventure', displayName: 'Adventure Works', enabled: true })
  await connect('only', 'Northwind ID', { portal: 'single' })
  await connect('p', 'Company', { portal: 'many' })
  await copyProvider(knex, 'p', 60)
  await connect('s', 'Company', { portal: 'some' })
  await copyProvider(knex, 's', 24)
  for (const [slug, displayName, preset] of [
    ['entra', 'Microsoft', 'entra'],
    ['google', 'Google', 'google'],
  ] as const) {
    await connect(slug, displayName, { portal: 'two' })
    await knex('sso_providers').where({ slug, portal: 'two' }).update({ preset })
  }
  await sso.providers.recommend('northwind')
  await knex('sso_providers').where({ slug: 'fabrikam' }).update({ reauthentication: 'unreported' })
  for (const userAgent of [phone, laptop])
    await new Visitor({ 'user-agent': userAgent }).open(`${portal.url}/login/northwind`)
  other.faults.authorizeError = { error: 'server_error' }
  await new Visitor().open(`${portal.url}/login/tailspin`)
  other.reset()
}

/** As if a probe had confirmed an outage. */
async function failSince({ portal: { knex } }: Scene, slug: string): Promise<void> {
  const { id } = await knex('sso_providers').where({ slug }).first('id')
  const [now, tomorrow] = [new Date(), new Date(Date.now() + 86_400_000)].map((time) => time.toISOString())
  const outage = { failing_since: now, endpoint: 'metadata', fault: 'unreachable', checked_at: now }
  await knex('sso_provider_health')
    .insert({ provider_id: id, ...outage, claimed_at: now, due_at: tomorrow })
    .onConflict('provider_id')
    .merge()
}

const phone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'
const laptop = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'
