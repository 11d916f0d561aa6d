import { type Request, type Response, Router } from 'express'
import type { ProviderInput } from '../management/provider-input.ts'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { slugSchema } from '../providers/provider.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, actOptions, createShowAdmin, textOf } from './context.ts'
import {
  allOf,
  connectFields,
  type Entries,
  type EntryErrors,
  entriesFrom,
  entriesOf,
  type Field,
  type FilledForm,
  formView,
  formWithErrors,
  readSettings,
} from './form.ts'
import { sentence } from './format.ts'
import { addressesFor } from './provider-urls.ts'

const slugField: Field = {
  name: 'slug',
  label: 'Name in URLs',
  hint: 'Lower-case letters, digits and dashes. You cannot change it later, because it is part of the URLs above.',
  required: true,
}

/** `GET /new`, `GET|POST /new/:preset`: a new provider, tested before it is saved, and saved as a draft. */
export function createConnectRoutes(parts: AdminContext): Router {
  const { portalOf, posted, providers } = parts
  const show = createShowAdmin(parts)

  async function showForm(req: Request, res: Response, preset: Preset, form: FilledForm): Promise<void> {
    const { entries } = form
    const { locals, status } = formView(form)
    const fields = connectFields(preset.name, preset.settings !== undefined)
    const slug = slugSchema.safeParse(entries.slug).success ? String(entries.slug) : preset.name
    await show(
      req,
      res,
      'connect',
      {
        preset,
        questions: [...questionsOf(preset), slugField],
        ...fields,
        ...locals,
        urls: addressesFor(parts, slug, portalOf(req), {
          preset: preset.name,
          signsKeys: entries.clientAuthentication === 'private_key_jwt',
          frontChannelLogout: Boolean(entries.frontChannelLogout),
        }),
      },
      status,
    )
  }

  async function proposed(req: Request, preset: Preset): Promise<Entries> {
    const portal = portalOf(req)
    // One that was removed has its name as long as it can be restored: who takes that forgets it.
    const taken = [...(await providers.list(portal)), ...(await providers.removed(portal))].map(
      ({ slug }) => slug,
    )
    const base = preset.name === 'generic' ? 'sso' : preset.name
    let slug = base
    for (let next = 2; taken.includes(slug); next++) slug = `${base}-${next}`
    const displayName = preset.name === 'generic' ? '' : preset.displayName
    return { ...entriesFrom({ displayName, ...preset.defaults }), slug }
  }

  async function connect(req: Request, res: Response, preset: Preset): Promise<void> {
    const { portal, actor } = actOptions(req, portalOf)
    const fields = allOf(connectFields(preset.name, preset.settings !== undefined))
    const questions = [...questionsOf(preset), slugField]
    const entries = entriesOf(req.body, [...fields, ...questions])
    const { settings, errors } = readSettings(req.body, fields)
    Object.assign(errors, wrongAnswers(preset, entries), wrongSlug(entries))
    if (Object.keys(errors).length > 0) return await showForm(req, res, preset, { entries, errors })
    const input: ProviderInput = {
      ...settings,
      slug: String(entries.slug),
      preset: preset.name,
      portal,
      answers: answersOf(preset, entries),
      enabled: false,
    }
    try {
      if (textOf(req.body, 'act') === 'test') {
        const { checks } = await providers.testUnsaved(input)
        return await showForm(req, res, preset, { entries, checks })
      }
      const { slug } = await providers.connect(input, actor)
      res.redirect(303, `${req.baseUrl}/${slug}?done=connected`)
    } catch (error) {
      await showForm(req, res, preset, formWithErrors(entries, error, [...fields, ...questions]))
    }
  }

  const router = Router()
  router.get(
    '/new',
    asyncHandler(async (req, res) => await show(req, res, 'choose', { presets })),
  )
  router.get(
    '/new/:preset',
    asyncHandler(async (req, res, next) => {
      const preset = presetOf(String(req.params.preset))
      if (!preset) return next()
      await showForm(req, res, preset, { entries: await proposed(req, preset) })
    }),
  )
  router.post(
    '/new/:preset',
    ...posted,
    asyncHandler(async (req, res, next) => {
      const preset = presetOf(String(req.params.preset))
      if (!preset) return next()
      await connect(req, res, preset)
    }),
  )
  return router
}

function questionsOf({ asks }: Preset): Field[] {
  return asks.map(({ name, label, hint, example, required = true }) => ({
    name: `answer.${name}`,
    label,
    hint: hint && sentence(hint),
    example,
    required,
  }))
}

function answersOf({ asks }: Preset, entries: Entries): Record<string, string> {
  const given = asks.map(({ name }) => [name, entries[`answer.${name}`] ?? ''] as const)
  return Object.fromEntries(given.filter(([, answer]) => answer !== ''))
}

function wrongAnswers({ asks }: Preset, entries: Entries): EntryErrors {
  const errors: EntryErrors = {}
  for (const { name, label, required = true, read } of asks) {
    const answer = entries[`answer.${name}`] ?? ''
    if (answer === '') {
      if (required) errors[`answer.${name}`] = `Enter the ${label}.`
      continue
    }
    const outcome = read(answer)
    if ('wrong' in outcome) errors[`answer.${name}`] = sentence(outcome.wrong)
  }
  return errors
}

function wrongSlug({ slug }: Entries): EntryErrors {
  const { error } = slugSchema.safeParse(slug)
  return error ? { slug: sentence(error.issues[0]?.message ?? 'choose another one') } : {}
}
