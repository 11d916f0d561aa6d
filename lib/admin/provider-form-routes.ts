import type { ProviderInput } from '../management/provider-input.ts'
import { urlsByUse } from '../management/provider-urls.ts'
import { generic } from '../providers/presets/generic.ts'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import { type ClientAuthentication, emailDomain } from '../providers/setting-values.ts'
import { isSecret, type ProviderChanges, type ProviderSettings } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { asPhrase, phrase } from '../shared/phrase.ts'
import {
  type AdminHandler,
  type AdminRequest,
  type AdminRoutes,
  findProvider,
  pageUnknown,
  redirectTo,
  showPage,
  textOf,
  withProvider,
} from './admin-request.ts'
import {
  connectFields,
  domainsField,
  editFields,
  type FilledForm,
  type FormField,
  type FormValues,
  problemText,
  readFields,
  readTrust,
  readValue,
  restoreSecrets,
  type SettingField,
  sectionsOf,
  showForm,
  toFormValues,
  trustChoices,
  trustValues,
  withProblems,
} from './form.ts'
import { providerBadge } from './format.ts'
import { consentHref, urlsToEnter } from './provider-routes.ts'

/** `GET|POST /:slug/edit`: the settings of a connected provider, tested before they are saved. */
export const providerEditRoutes: AdminRoutes = {
  'GET /:slug/edit': withProvider((page, provider) =>
    showEditForm(page, provider, { values: toFormValues(provider, fieldsOf(provider)) }),
  ),
  'POST /:slug/edit': withProvider(save),
  'GET /:slug/trust': withProvider((page, provider) =>
    showTrustForm(page, provider, { values: trustValues(presetFor(provider), provider) }),
  ),
  'POST /:slug/trust': withProvider(saveTrust),
  'POST /:slug/logo': withProvider(saveLogo),
  'POST /:slug/remove-logo': withProvider(async (page, { slug }) => {
    await page.providers.removeLogo(slug, page.options)
    redirectTo(page, `/${slug}/edit`, { done: 'logoRemoved' })
  }),
}

/** `GET /new`, `GET|POST /new/:preset`: a new provider, tested before it is saved, and saved as a draft. */
export const providerCreateRoutes: AdminRoutes = {
  'GET /new': (page) => showPage(page, 'choose', { presets }),
  'GET /new/:preset': withPreset(async (page, preset) =>
    showConnectForm(page, preset, { values: await proposedValues(page, preset) }),
  ),
  'POST /new/:preset': withPreset(connect),
  'GET /:slug/test-sign-in': withProvider((page, provider) =>
    showPage(page, 'test-step', {
      provider,
      checks: provider.lastTest?.checks ?? [],
      // The provider can only fetch the keys now that they exist.
      urls: urlsToEnter(page, provider).filter(({ name }) => name === 'jwksUri'),
      consentHref: consentHref(page, provider),
    }),
  ),
  // `npm run guides` renders the guides from `docs/providers`. The view includes one by the preset's own name.
  'GET /new/:preset/guide': withPreset((page, preset) => {
    const guideUrls = urlsByUse(page, { slug: preset.name, preset: preset.name }, page.options.portal)
    return showPage(page, 'guide', { preset, guideUrls })
  }),
}

function withPreset(handle: (page: AdminRequest, preset: Preset) => Promise<void>): AdminHandler {
  return async (page) => {
    const preset = presetOf(String(page.req.params.preset))
    if (!preset) throw pageUnknown()
    await handle(page, preset)
  }
}

async function showConnectForm(page: AdminRequest, preset: Preset, form: FilledForm): Promise<void> {
  const { slug: entered, clientAuthentication, frontChannelLogout } = form.values
  const slug = slugSchema.safeParse(entered).data ?? preset.name
  await showForm(page, 'connect', form, {
    preset,
    questions: questionsOf(preset),
    ...sectionsOf(connectFields(preset)),
    ...trustLocals(page, preset),
    guideUrls: urlsByUse(page, { slug, preset: preset.name }, page.options.portal),
    urls: urlsToEnter(page, {
      slug,
      preset: preset.name,
      clientAuthentication: clientAuthentication as ClientAuthentication | undefined,
      frontChannelLogout: Boolean(frontChannelLogout),
    }),
  })
}

function trustLocals({ signIn }: AdminRequest, preset: Preset) {
  const { canVerifyEmail } = signIn
  return { trustChoices: trustChoices(preset), domainsField: domainsField(preset), canVerifyEmail }
}

/** Administrators with more providers of one preset choose names of their own. */
const maxProposedSlugs = 100

async function proposedValues({ options, providers }: AdminRequest, preset: Preset): Promise<FormValues> {
  const base = preset.name === 'generic' ? 'sso' : preset.name
  const slugs = [base, ...Array.from({ length: maxProposedSlugs }, (_, at) => `${base}-${at + 2}`)]
  // Reusing the slug of a removed provider would make it impossible to restore that one.
  const connected = await providers.list({ ...options, slugs })
  const taken = [...connected, ...(await providers.listRemoved(options))].map(({ slug }) => slug)
  const slug = slugs.find((each) => !taken.includes(each)) ?? ''
  const displayName = preset.name === 'generic' ? '' : preset.displayName
  const defaults: Partial<ProviderSettings> = { displayName, ...preset.defaults }
  return { ...toFormValues(defaults, connectFields(preset)), ...trustValues(preset), slug }
}

async function connect(page: AdminRequest, preset: Preset): Promise<void> {
  const { options, providers, req } = page
  const fields = connectFields(preset)
  const questions = questionsOf(preset)
  restoreSecrets(page)
  const settings = readFields(req.body, fields, page.say)
  const answers = readFields(req.body, questions, page.say)
  const trust = readTrust(page, preset, { own: tenantDomain(page) })
  const values = { ...settings.values, ...answers.values, ...trust.values }
  const errors = { ...settings.errors, ...answers.errors, ...trust.errors }
  if (Object.keys(errors).length > 0) return await showConnectForm(page, preset, { values, errors })
  const { slug, ...answered } = answers.read
  const input = {
    ...trust.settings,
    ...settings.read,
    slug,
    preset: preset.name,
    answers: Object.fromEntries(
      Object.entries(answered).map(([name, answer]) => [name.replace('answer.', ''), answer]),
    ),
    enabled: false,
  } as ProviderInput
  try {
    if (textOf(req.body, 'act') === 'test') {
      const { checks } = await providers.testUnsaved(input, options)
      return await showConnectForm(page, preset, { values, checks })
    }
    await providers.connect(input, options)
  } catch (error) {
    const shown = [...fields, ...questions, ...trustFields(preset)]
    return await showConnectForm(page, preset, withProblems(values, error, shown, page))
  }
  redirectTo(page, `/${input.slug}/test-sign-in`, { done: 'connected' })
}

/**
 * Discovery finds the tenant that owns a domain. So its administrators also assign the domain's addresses. Attacker: has an
 * administrator enter the issuer of another tenant, which would then be trusted with these addresses.
 */
function tenantDomain({ req }: AdminRequest): string[] {
  const tenant = textOf(req.body, 'answer.tenant').toLowerCase()
  const issuer = textOf(req.body, 'issuer')
  const isOfTenant = issuer === '' || issuer.endsWith(`/${tenant}/v2.0`)
  return isOfTenant && emailDomain.safeParse(tenant).success ? [tenant] : []
}

const trustFields = (preset: Preset) => [{ name: 'trust' }, domainsField(preset)]

const presetFor = ({ preset }: Provider) => presetOf(preset) ?? generic

async function showTrustForm(page: AdminRequest, provider: Provider, form: FilledForm): Promise<void> {
  await showForm(page, 'trust', form, { provider, ...trustLocals(page, presetFor(provider)) })
}

async function saveTrust(page: AdminRequest, provider: Provider): Promise<void> {
  const { values, errors, settings } = readTrust(page, presetFor(provider), { saved: provider })
  if (Object.keys(errors).length > 0) return await showTrustForm(page, provider, { values, errors })
  const version = Number(textOf(page.req.body, 'version'))
  try {
    await page.providers.update(provider.slug, settings, { ...page.options, version })
  } catch (error) {
    const fields = trustFields(presetFor(provider))
    return await showTrustForm(page, provider, withProblems(values, error, fields, page))
  }
  redirectTo(page, `/${provider.slug}/test-sign-in`, { done: 'saved' })
}

function questionsOf({ asks }: Preset): FormField[] {
  const shown = asks.filter(({ askedAsTrust }) => !askedAsTrust)
  const questions = shown.map(({ name, label, hint, example, required = true, read }) => ({
    name: `answer.${name}`,
    label,
    control: 'text' as const,
    ...(hint && { hint }),
    ...(example && { example }),
    required,
    missing: phrase('Fill in “{{field}}”.', { field: asPhrase(label) }),
    read(text: string) {
      const reading = read(text)
      // `connect` reads the answer itself.
      return 'wrong' in reading ? reading : { value: text }
    },
  }))
  return [...questions, slugField]
}

const slugField: FormField = {
  name: 'slug',
  label: phrase('Name in URLs'),
  control: 'text',
  hint: phrase(
    'Lower-case letters, digits and dashes. It cannot be changed later, because it is part of the URLs above.',
  ),
  required: true,
  read: (text) => readValue(slugSchema, text),
}

async function save(page: AdminRequest, provider: Provider): Promise<void> {
  const { options, providers, req } = page
  const fields = fieldsOf(provider)
  restoreSecrets(page)
  const { values, read, empty, errors } = readFields(req.body, fields, page.say)
  const version = Number(textOf(req.body, 'version'))
  if (version !== provider.version) return await showConflict(page, provider, values)
  if (Object.keys(errors).length > 0) return await showEditForm(page, provider, { values, errors })
  // An emptied setting is reset; a secret only where its box was selected.
  const reset = empty.filter((name) => !isSecret(name) || textOf(req.body, `remove.${name}`) !== '')
  const changes: ProviderChanges = { ...read, ...Object.fromEntries(reset.map((name) => [name, null])) }
  try {
    await providers.update(provider.slug, changes, { ...options, version })
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error
    const now = await findProvider(page)
    if (now.version !== version) return await showConflict(page, now, values)
    return await showEditForm(page, now, withProblems(values, error, fields, page))
  }
  redirectTo(page, `/${provider.slug}`, { done: 'saved' })
}

/** `Buffer`: what a browser sends for a file. Without a chosen one, it is empty; a large one is discarded. */
async function saveLogo(page: AdminRequest, provider: Provider): Promise<void> {
  const { options, providers, req } = page
  const file: unknown = req.body?.logo
  try {
    if (!Buffer.isBuffer(file) || file.length === 0)
      throw new ManagementError('invalid', phrase('choose a PNG or WebP image, at most 20 KB'))
    await providers.setLogo(provider.slug, file, options)
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error
    const values = toFormValues(provider, fieldsOf(provider))
    return await showEditForm(page, provider, { values, errors: { logo: problemText(page, error) } })
  }
  redirectTo(page, `/${provider.slug}/edit`, { done: 'logoSaved' })
}

async function showEditForm(
  page: AdminRequest,
  provider: Provider,
  form: FilledForm,
  conflict?: ReturnType<typeof differences>,
): Promise<void> {
  const mark = providerBadge(provider)
  await showForm(page, 'edit', form, { provider, mark, ...sectionsOf(fieldsOf(provider)), conflict })
}

async function showConflict(page: AdminRequest, provider: Provider, values: FormValues): Promise<void> {
  await showEditForm(page, provider, { values }, differences(provider, values))
}

/** This version may not know the preset of a newer one. */
function fieldsOf({ preset, clientSecretReference }: Provider): SettingField[] {
  return editFields(presetOf(preset) ?? generic, clientSecretReference)
}

/** The saved settings beside what was entered on top of an older version. */
function differences(provider: Provider, values: FormValues) {
  const fields = fieldsOf(provider)
  const saved = toFormValues(provider, fields)
  return fields
    .map(({ name, label }) => ({ label, saved: saved[name] ?? '', entered: values[name] ?? '' }))
    .filter((each) => normalized(each.saved) !== normalized(each.entered))
}

/** Browsers send line breaks in their own way. */
function normalized(text: string): string {
  return text.replace(/\r\n/g, '\n').trim()
}
