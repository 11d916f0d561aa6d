import type { Check } from '../provider.ts'

export const ok = (name: string, finding: string): Check => ({ name, result: 'ok', finding })

/** Nothing that stops a sign-in for certain. */
export const warning = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'warning',
  finding,
  remedy,
})

/** With this nobody would get in: such a provider is not saved. */
export const failed = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'failed',
  finding,
  remedy,
})
