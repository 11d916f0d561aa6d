import { type Request, type Response, Router } from 'express'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { ManagementError, PortalSsoError } from '../shared/errors.ts'
import { type AdminContext, actOptions, showAdminPage, textOf, withProvider } from './context.ts'
import {
  editFields,
  enteredValues,
  type FilledForm,
  type FormValues,
  formView,
  formWithErrors,
  readSettingsForm,
  resetSettings,
  type SettingField,
  sectionsOf,
  toFormValues,
} from './form.ts'

/** `GET|POST /:slug/edit`: the settings of a connected provider, tested before they are saved. */
export function providerEditRoutes(context: AdminContext): Router {
  const { portalOf, posted, providers } = context

  async function save(req: Request, res: Response, provider: Provider): Promise<void> {
    const { slug } = provider
    const options = actOptions(req, portalOf)
    const fields = fieldsOf(provider)
    const values = enteredValues(req.body, fields)
    const version = Number(textOf(req.body, 'version'))
    if (version !== provider.version)
      return await showForm(context, req, res, { provider, values, conflict: true })
    const { settings, empty, errors } = readSettingsForm(req.body, fields)
    if (Object.keys(errors).length > 0) return await showForm(context, req, res, { provider, values, errors })
    try {
      const changes = { ...settings, ...resetSettings(req.body, empty) }
      await providers.update(slug, changes, { ...options, version })
      res.redirect(303, `${req.baseUrl}/${slug}?done=saved`)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      const now = await providers.find(slug, options)
      if (!now) throw new PortalSsoError('not_found', 'the provider was removed', { cause: error })
      if (now.version !== version)
        return await showForm(context, req, res, { provider: now, values, conflict: true })
      await showForm(context, req, res, { provider: now, ...formWithErrors(values, error, fields) })
    }
  }

  const router = Router()
  router.get(
    '/:slug/edit',
    withProvider(context, (req, res, provider) =>
      showForm(context, req, res, { provider, values: toFormValues(provider, fieldsOf(provider)) }),
    ),
  )
  router.post('/:slug/edit', ...posted, withProvider(context, save))
  return router
}

interface ShownForm extends FilledForm {
  provider: Provider
  /** Another administrator has saved in between. */
  conflict?: boolean
}

async function showForm(context: AdminContext, req: Request, res: Response, form: ShownForm): Promise<void> {
  const { provider, values, conflict = false } = form
  const fields = fieldsOf(provider)
  const { locals, status } = formView(form)
  await showAdminPage(context, req, res, {
    view: 'edit',
    locals: {
      provider,
      ...sectionsOf(fields),
      ...locals,
      conflict: conflict ? differences(provider, values, fields) : undefined,
    },
    status: conflict ? 409 : status,
  })
}

function fieldsOf({ preset, clientSecretReference }: Provider): SettingField[] {
  return editFields(presetOf(preset) as Preset, clientSecretReference)
}

/** The saved settings beside what was entered on top of an older version. */
function differences(
  provider: Provider,
  values: FormValues,
  fields: readonly SettingField[],
): { label: string; saved: string; entered: string }[] {
  const saved = toFormValues(provider, fields)
  return fields
    .filter(({ name }) => normalized(saved[name]) !== normalized(values[name]))
    .map(({ name, label }) => ({ label, saved: saved[name] ?? '', entered: values[name] ?? '' }))
}

/** Browsers send line breaks in their own way. */
function normalized(text: string | undefined): string {
  return (text ?? '').replace(/\r\n/g, '\n').trim()
}
