import { ConfigurationError } from '../errors.ts'

/** @throws ConfigurationError for what is no date of ISO 8601; one without a time is midnight, UTC */
export function momentOf(text: string, flag: string): Date {
  const moment = new Date(text)
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(moment.getTime())) return moment
  throw new ConfigurationError(`${flag}: write a date such as 2027-01-31, not "${text}"`)
}
