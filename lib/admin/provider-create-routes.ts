import { type Request, type Response, Router } from 'express'
import type { ProviderInput } from '../management/provider-input.ts'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { slugSchema } from '../providers/provider.ts'
import type { ProviderSettings } from '../providers/settings.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, actOptions, showAdminPage, textOf } from './context.ts'
import {
  connectFields,
  enteredValues,
  type FieldErrors,
  type FilledForm,
  type FormField,
  type FormValues,
  formView,
  formWithErrors,
  readSettingsForm,
  sectionsOf,
  toFormValues,
} from './form.ts'
import { sentence } from './format.ts'
import { addressesFor } from './provider-urls.ts'

const slugField: FormField = {
  name: 'slug',
  label: 'Name in URLs',
  control: 'text',
  hint: 'Lower-case letters, digits and dashes. It cannot be changed later, because it is part of the URLs above.',
  required: true,
}

/** `GET /new`, `GET|POST /new/:preset`: a new provider, tested before it is saved, and saved as a draft. */
export function providerCreateRoutes(context: AdminContext): Router {
  const withPreset = (handle: (req: Request, res: Response, preset: Preset) => Promise<void>) =>
    asyncHandler(async (req, res, next) => {
      const preset = presetOf(String(req.params.preset))
      await (preset ? handle(req, res, preset) : next())
    })

  const router = Router()
  router.get(
    '/new',
    asyncHandler((req, res) => showAdminPage(context, req, res, { view: 'choose', locals: { presets } })),
  )
  router.get(
    '/new/:preset',
    withPreset(async (req, res, preset) => {
      await showForm(context, req, res, { preset, values: await proposedValues(context, req, preset) })
    }),
  )
  router.post(
    '/new/:preset',
    ...context.posted,
    withPreset((req, res, preset) => connect(context, req, res, preset)),
  )
  return router
}

interface ShownForm extends FilledForm {
  preset: Preset
}

async function showForm(context: AdminContext, req: Request, res: Response, form: ShownForm): Promise<void> {
  const { preset, values } = form
  const { locals, status } = formView(form)
  const slug = slugSchema.safeParse(values.slug).success ? String(values.slug) : preset.name
  await showAdminPage(context, req, res, {
    view: 'connect',
    locals: {
      preset,
      questions: [...questionsOf(preset), slugField],
      ...sectionsOf(connectFields(preset)),
      ...locals,
      urls: addressesFor(context, slug, context.portalOf(req), {
        preset: preset.name,
        signsKeys: values.clientAuthentication === 'private_key_jwt',
        frontChannelLogout: Boolean(values.frontChannelLogout),
      }),
    },
    status,
  })
}

async function proposedValues(
  { portalOf, providers }: AdminContext,
  req: Request,
  preset: Preset,
): Promise<FormValues> {
  const portal = portalOf(req)
  // Reusing the slug of a removed provider would make it impossible to restore that one.
  const connected = await providers.list({ portal })
  const taken = [...connected, ...(await providers.listRemoved({ portal }))].map(({ slug }) => slug)
  const base = preset.name === 'generic' ? 'sso' : preset.name
  let slug = base
  for (let next = 2; taken.includes(slug); next++) slug = `${base}-${next}`
  const displayName = preset.name === 'generic' ? '' : preset.displayName
  const defaults: Partial<ProviderSettings> = { displayName, ...preset.defaults }
  return { ...toFormValues(defaults, connectFields(preset)), slug }
}

async function connect(context: AdminContext, req: Request, res: Response, preset: Preset): Promise<void> {
  const { portalOf, providers } = context
  const options = actOptions(req, portalOf)
  const fields = connectFields(preset)
  const questions = [...questionsOf(preset), slugField]
  const values = enteredValues(req.body, [...fields, ...questions])
  const { settings, errors } = readSettingsForm(req.body, fields)
  Object.assign(errors, wrongAnswers(preset, values), wrongSlug(values))
  if (Object.keys(errors).length > 0) return await showForm(context, req, res, { preset, values, errors })
  const input: ProviderInput = {
    ...settings,
    slug: String(values.slug),
    preset: preset.name,
    answers: answersOf(preset, values),
    enabled: false,
  }
  try {
    if (textOf(req.body, 'act') === 'test') {
      const { checks } = await providers.testUnsaved(input, options)
      return await showForm(context, req, res, { preset, values, checks })
    }
    const { slug } = await providers.connect(input, options)
    res.redirect(303, `${req.baseUrl}/${slug}?done=connected`)
  } catch (error) {
    const form = formWithErrors(values, error, [...fields, ...questions])
    await showForm(context, req, res, { preset, ...form })
  }
}

function questionsOf({ asks }: Preset): FormField[] {
  return asks.map(({ name, label, hint, example, required = true }) => ({
    name: `answer.${name}`,
    label,
    control: 'text',
    hint: hint && sentence(hint),
    example,
    required,
  }))
}

function answersOf({ asks }: Preset, values: FormValues): Record<string, string> {
  const given = asks.map(({ name }) => [name, values[`answer.${name}`] ?? ''] as const)
  return Object.fromEntries(given.filter(([, answer]) => answer !== ''))
}

function wrongAnswers({ asks }: Preset, values: FormValues): FieldErrors {
  const errors: FieldErrors = {}
  for (const { name, label, required = true, read } of asks) {
    const answer = values[`answer.${name}`] ?? ''
    if (answer === '') {
      if (required) errors[`answer.${name}`] = `Enter the ${label}.`
      continue
    }
    const outcome = read(answer)
    if ('wrong' in outcome) errors[`answer.${name}`] = sentence(outcome.wrong)
  }
  return errors
}

function wrongSlug({ slug }: FormValues): FieldErrors {
  const { error } = slugSchema.safeParse(slug)
  return error ? { slug: sentence(error.issues[0]?.message ?? 'choose another one') } : {}
}
