/**
 * Who is about to sign in, as somebody says it who may be anybody: handed on to the provider, which asks that person, and to
 * nobody else. It is often an address, so it is in no log.
 *
 * @returns `undefined` for what is no line of at most 500 characters
 */
export function readLoginHint(value: unknown): string | undefined {
  return typeof value === 'string' && /^[^\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]{1,500}$/u.test(value)
    ? value
    : undefined
}
