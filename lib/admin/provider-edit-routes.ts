import { generic } from '../providers/presets/generic.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { isSecret, type ProviderChanges } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import {
  type AdminRequest,
  type AdminRoutes,
  findProvider,
  redirectTo,
  textOf,
  withProvider,
} from './admin-request.ts'
import {
  editFields,
  type FilledForm,
  type FormValues,
  readFields,
  type SettingField,
  sectionsOf,
  showForm,
  toFormValues,
  withProblems,
} from './form.ts'

/** `GET|POST /:slug/edit`: the settings of a connected provider, tested before they are saved. */
export const providerEditRoutes: AdminRoutes = {
  'GET /:slug/edit': withProvider((page, provider) =>
    showEditForm(page, provider, { values: toFormValues(provider, fieldsOf(provider)) }),
  ),
  'POST /:slug/edit': withProvider(save),
}

async function save(page: AdminRequest, provider: Provider): Promise<void> {
  const { options, providers, req } = page
  const fields = fieldsOf(provider)
  const { values, read, empty, errors } = readFields(req.body, fields)
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
    return await showEditForm(page, now, withProblems(values, error, fields))
  }
  redirectTo(page, `/${provider.slug}`, { done: 'saved' })
}

async function showEditForm(
  page: AdminRequest,
  provider: Provider,
  form: FilledForm,
  conflict?: ReturnType<typeof differences>,
): Promise<void> {
  await showForm(page, 'edit', form, { provider, ...sectionsOf(fieldsOf(provider)), conflict })
}

/** Another administrator has saved in between. */
async function showConflict(page: AdminRequest, provider: Provider, values: FormValues): Promise<void> {
  await showEditForm(page, provider, { values }, differences(provider, values))
}

/** This version may not know the preset of a newer one. */
function fieldsOf({ preset, clientSecretReference }: Provider): SettingField[] {
  return editFields(presetOf(preset) ?? generic, clientSecretReference)
}

/** The saved settings beside what was entered on top of an older version. */
function differences(
  provider: Provider,
  values: FormValues,
): { label: string; saved: string; entered: string }[] {
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
