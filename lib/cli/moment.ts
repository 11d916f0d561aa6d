import { ConfigurationError } from '../errors.ts'
import { moment } from '../providers/provider.ts'

/** @throws ConfigurationError for what is no date of ISO 8601; one without a time is midnight, UTC */
export function momentOf(text: string, flag: string): Date {
  const { data } = moment.safeParse(text)
  if (data !== undefined) return new Date(data)
  throw new ConfigurationError(`${flag}: write a date such as 2027-01-31, not "${text}"`)
}
