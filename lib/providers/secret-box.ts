import { ConfigurationError } from '../errors.ts'
import { createSeal } from '../seal.ts'

/** Client secrets at rest. Bound to their row: a value copied into another row does not open there. */
export interface SecretBox {
  close(secret: string, providerId: string): Promise<string>
  /** @throws ConfigurationError when none of the operator's secrets opens it */
  open(sealed: string, providerId: string): Promise<string>
  /** whether it is sealed under the first of the operator's secrets */
  isCurrent(sealed: string): boolean
}

export function createSecretBox(secrets: readonly string[]): SecretBox {
  const seal = createSeal(secrets, 'client-secret')
  return {
    close: (secret, providerId) => seal.close(secret, providerId),
    isCurrent: (sealed) => seal.isCurrent(sealed),
    async open(sealed, providerId) {
      const secret = await seal.open(sealed, providerId)
      if (typeof secret === 'string') return secret
      throw new ConfigurationError(
        'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
          '(secret: [new, old]), or set the client secret again',
      )
    },
  }
}
