import { ConfigurationError } from '../errors.ts'
import { FailedTest } from '../providers/failed-test.ts'
import type { Check } from '../providers/provider.ts'
import { type Entries, type EntryErrors, toldOf } from './entries.ts'

/** A form as somebody filled it in, and what is wrong with it. */
export interface FilledForm {
  entries: Entries
  errors?: EntryErrors
  /** what is wrong, and about no field */
  others?: string[]
  checks?: readonly Check[] | undefined
}

/** What a view shows of it; its status. */
export function shownForm({ entries, errors = {}, others = [], checks }: FilledForm) {
  const failed = checks?.some(({ result }) => result === 'failed') ?? false
  const wrong = Object.keys(errors).length + others.length > 0
  return { locals: { entries, errors, others, checks, failed }, status: wrong || failed ? 422 : 200 }
}

/**
 * The form once more, with why it could not be saved.
 *
 * @param fields by name
 * @throws the error itself, when it is not about what was entered
 */
export function refusedForm(
  entries: Entries,
  error: unknown,
  fields: readonly { name: string }[],
): FilledForm {
  if (!(error instanceof ConfigurationError)) throw error
  if (error instanceof FailedTest) return { entries, checks: error.checks }
  const names = fields.map(({ name }) => name)
  return { entries, ...toldOf(error.message, names) }
}
