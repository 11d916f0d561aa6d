import type { SecretEncoding } from '../providers/provider.ts'
import type { Claims } from '../sign-in/identity.ts'
import type { Observe } from '../sign-in/observe.ts'

/** How far an answer got, and what was seen on the way. */
export interface Witness {
  tokenAsked: boolean
  /** of the token endpoint's answer, if it gave one */
  tokenStatus: number | undefined
  /** how the provider took the client secret, once it had */
  encoding: SecretEncoding | undefined
  /** comes after all comparisons of the ID token's claims, and before its signature */
  keysAsked: boolean
  /** of an ID token that passed */
  idClaims: Claims | undefined
  /** seconds since 1970, when it passed */
  passedAt: number
  userInfoAsked: boolean
  userInfo: Claims | undefined
  failure: { error: unknown; quoted: (said: string) => string } | undefined
}

export function createWitness(): Witness & { observe: Observe } {
  const witness: Witness & { observe: Observe } = {
    tokenAsked: false,
    tokenStatus: undefined,
    encoding: undefined,
    keysAsked: false,
    idClaims: undefined,
    passedAt: 0,
    userInfoAsked: false,
    userInfo: undefined,
    failure: undefined,
    observe(seen) {
      if ('asked' in seen) {
        if (seen.asked === 'token') witness.tokenAsked = true
        else if (witness.idClaims) witness.userInfoAsked = true
        else witness.keysAsked = true
      } else if ('tokenStatus' in seen) {
        witness.tokenStatus = seen.tokenStatus
      } else if ('encoding' in seen) {
        witness.encoding = seen.encoding
      } else if ('idClaims' in seen) {
        witness.idClaims = seen.idClaims
        witness.passedAt = Date.now() / 1000
      } else if ('userInfo' in seen) {
        witness.userInfo = seen.userInfo
      } else {
        witness.failure = { error: seen.failure, quoted: seen.quoted }
      }
    },
  }
  return witness
}
