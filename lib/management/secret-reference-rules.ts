import type { Provider } from '../providers/provider.ts'
import { type ProviderSettings, type SettingName, settingNamesWhere } from '../providers/settings.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { type Issue, ManagementError } from '../shared/errors.ts'

type Source = ActOptions['source']

/**
 * Attacker: an administrator of one portal who enters `file:/run/secrets/db` and an issuer of their own. Only code and the
 * command line may therefore set a reference, or choose who receives the secret of a provider that has one.
 *
 * @param before omitted: a new provider
 * @throws ManagementError `not_allowed`
 */
export function assertMayReference(
  settings: Partial<ProviderSettings>,
  source: Source,
  before?: Provider,
): void {
  if (source === undefined || source === 'code') return
  const guarded: SettingName[] = settingNamesWhere(({ codeOnly }) => codeOnly)
  if (before?.clientSecretReference !== undefined)
    guarded.push('clientSecret', ...settingNamesWhere(({ decidesSecretRecipient }) => decidesSecretRecipient))
  const issues: Issue[] = guarded
    .filter(
      (name) =>
        name in settings && settings[name] !== (before as Partial<ProviderSettings> | undefined)?.[name],
    )
    .map((path) => ({
      path,
      message:
        before?.clientSecretReference === undefined
          ? 'only code and the command line can set it'
          : 'only code and the command line can change it, because the client secret of this provider is a reference',
    }))
  if (issues.length > 0) throw new ManagementError('not_allowed', issues)
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
  const unnamed = settingNamesWhere(({ decidesSecretRecipient }) => decidesSecretRecipient).filter(
    (name) => (provider as Partial<ProviderSettings>)[name] !== undefined && !(name in changes),
  )
  const message = 'give it together with the secret reference, because it decides who receives the secret'
  if (unnamed.length > 0)
    throw new ManagementError(
      'invalid',
      unnamed.map((path) => ({ path, message })),
    )
}
