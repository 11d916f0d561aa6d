import { type Request, type Response, Router } from 'express'
import type { Provider, ProviderChanges } from '../providers/provider.ts'
import { settingsOf } from '../providers/settings.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { type AdminContext, actOptions, createShowAdmin, createWithProvider, textOf } from './context.ts'
import {
  allOf,
  type Entries,
  editFields,
  entriesFrom,
  entriesOf,
  type FilledForm,
  formView,
  formWithErrors,
  isSecret,
  readSettings,
  type SettingField,
  type SettingName,
} from './form.ts'

/** `GET|POST /:slug/edit`: what is saved, tested before it is saved anew. */
export function createEditRoutes(parts: AdminContext): Router {
  const { portalOf, posted, providers } = parts
  const show = createShowAdmin(parts)

  interface Shown extends FilledForm {
    /** somebody else has saved meanwhile */
    conflict?: boolean
  }

  async function showForm(req: Request, res: Response, provider: Provider, shown: Shown): Promise<void> {
    const { entries, conflict = false } = shown
    const fields = editFields(provider.preset)
    const { locals, status } = formView(shown)
    const conflicts = conflict ? differences(provider, entries, allOf(fields)) : undefined
    await show(
      req,
      res,
      'edit',
      { provider, ...fields, ...locals, conflict: conflicts },
      conflict ? 409 : status,
    )
  }

  async function save(req: Request, res: Response, provider: Provider): Promise<void> {
    const { slug, preset } = provider
    const { portal, actor } = actOptions(req, portalOf)
    const fields = allOf(editFields(preset))
    const entries = entriesOf(req.body, fields)
    const seen = Number(textOf(req.body, 'version'))
    if (seen !== provider.version) return await showForm(req, res, provider, { entries, conflict: true })
    const { settings, empty, errors } = readSettings(req.body, fields)
    if (Object.keys(errors).length > 0) return await showForm(req, res, provider, { entries, errors })
    try {
      const changes = { ...settings, ...takenBack(req.body, empty) }
      await providers.update(slug, changes, { portal, actor, version: seen })
      res.redirect(303, `${req.baseUrl}/${slug}?done=saved`)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      const now = await providers.find(slug, portal)
      if (!now) throw new PortalSsoError('page_unknown', 'the provider was removed', { cause: error })
      if (now.version !== seen) return await showForm(req, res, now, { entries, conflict: true })
      await showForm(req, res, now, formWithErrors(entries, error, fields))
    }
  }

  const withProvider = createWithProvider(parts)
  const router = Router()
  router.get(
    '/:slug/edit',
    withProvider((req, res, provider) =>
      showForm(req, res, provider, { entries: entriesFrom(settingsOf(provider)) }),
    ),
  )
  router.post('/:slug/edit', ...posted, withProvider(save))
  return router
}

/** What was emptied is as if it had never been set; a secret only where that was ticked. */
function takenBack(form: unknown, empty: readonly SettingName[]): ProviderChanges {
  const names = empty.filter((name) => !isSecret(name) || textOf(form, `remove.${name}`) !== '')
  return Object.fromEntries(names.map((name) => [name, null]))
}

/** What is saved now, beside what was entered on what was there before. */
function differences(
  provider: Provider,
  entries: Entries,
  fields: readonly SettingField[],
): { label: string; saved: string; entered: string }[] {
  const saved = entriesFrom(settingsOf(provider))
  return fields
    .filter(({ name }) => !isSecret(name) && alike(saved[name]) !== alike(entries[name]))
    .map(({ name, label }) => ({ label, saved: saved[name] ?? '', entered: entries[name] ?? '' }))
}

/** Browsers send line breaks in their own way. */
function alike(text: string | undefined): string {
  return (text ?? '').replace(/\r\n/g, '\n').trim()
}
