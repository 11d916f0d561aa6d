import type { Provider } from '../providers/provider.ts'
import { type ProviderSettings, type SettingName, settingNamesWhere } from '../providers/settings.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ManagementError, type ManagementErrorCode } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'

/**
 * Attacker: an administrator of one portal who enters `file:/run/secrets/db` and an issuer of their own. Only code and the
 * command line may therefore set a reference, or choose who receives the secret of a provider that has one.
 *
 * @param before omitted: a new provider
 * @throws ManagementError `not_allowed`
 */
export function assertMayReference(
  settings: Partial<ProviderSettings>,
  source: ActOptions['source'],
  before?: Provider,
): void {
  if (source === undefined || source === 'code') return
  const guarded: SettingName[] = settingNamesWhere(({ codeOnly }) => codeOnly)
  if (before?.clientSecretReference !== undefined)
    guarded.push('clientSecret', ...settingNamesWhere(({ decidesSecretRecipient }) => decidesSecretRecipient))
  const message =
    before?.clientSecretReference === undefined
      ? phrase('only code and the command line can set it')
      : phrase(
          'only code and the command line can change it, because the client secret of this provider is a reference',
        )
  const existing: Partial<ProviderSettings> = before ?? {}
  const changed = guarded.filter((name) => name in settings && settings[name] !== existing[name])
  refuse('not_allowed', changed, message)
}

/**
 * Attacker: an administrator of one portal who first moves the provider to an issuer or a certificate authority of their own, and
 * waits until the operator sets a reference. The operator therefore names those who receive the secret in the same change.
 *
 * @throws ManagementError `invalid`
 */
export function assertNamesRecipient(changes: Partial<ProviderSettings>, provider: Provider): void {
  const { clientSecretReference: reference } = changes
  if (reference === undefined || reference === provider.clientSecretReference) return
  const existing: Partial<ProviderSettings> = provider
  const unnamed = settingNamesWhere(({ decidesSecretRecipient }) => decidesSecretRecipient).filter(
    (name) => existing[name] !== undefined && !(name in changes),
  )
  const message = phrase(
    'give it together with the secret reference, because it decides who receives the secret',
  )
  refuse('invalid', unnamed, message)
}

function refuse(code: ManagementErrorCode, names: readonly SettingName[], message: string): void {
  const issues = names.map((path) => ({ path, message }))
  if (issues.length > 0) throw new ManagementError(code, issues)
}
