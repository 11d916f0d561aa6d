import type { Claims } from '../oidc/identity.ts'
import type { Trace } from '../oidc/trace.ts'
import type { SecretEncoding } from '../providers/setting-values.ts'

/** What a sign-in looks at, in this order: behind one that failed nothing was looked at. */
export const testSteps = [
  'provider',
  'answer',
  'code',
  'algorithm',
  'times',
  'issuer',
  'audience',
  'nonce',
  'signature',
  'form',
  'userinfo',
  'identity',
  'clock',
] as const
export type TestStep = (typeof testSteps)[number]

export interface ReportLine {
  title: string
  result: 'ok' | 'warning' | 'failed' | 'not reached'
  /** what was found */
  finding?: string | undefined
  /** the operator's exact words of a failure, as a log has them */
  cause?: string | undefined
  /** what to do about it */
  remedy?: string | undefined
}

export const stepTitles: Readonly<Record<TestStep, string>> = {
  provider: 'Provider reached',
  answer: 'Authorization response received',
  code: 'Code redeemed',
  algorithm: 'ID token: algorithm',
  times: 'ID token: times',
  issuer: 'ID token: issuer',
  audience: 'ID token: audience',
  nonce: 'ID token: nonce',
  signature: 'ID token: signature',
  form: 'ID token: format',
  userinfo: 'UserInfo',
  identity: 'Identity',
  clock: 'Clocks',
}

/** How far an answer got, and what was seen on the way. */
export interface TestRecorder {
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

export function createTestRecorder(): TestRecorder & { trace: Trace } {
  const recorder: TestRecorder & { trace: Trace } = {
    tokenAsked: false,
    tokenStatus: undefined,
    encoding: undefined,
    keysAsked: false,
    idClaims: undefined,
    passedAt: 0,
    userInfoAsked: false,
    userInfo: undefined,
    failure: undefined,
    trace(seen) {
      if ('asked' in seen) {
        if (seen.asked === 'token') recorder.tokenAsked = true
        else if (recorder.idClaims) recorder.userInfoAsked = true
        else recorder.keysAsked = true
      } else if ('tokenStatus' in seen) {
        recorder.tokenStatus = seen.tokenStatus
      } else if ('encoding' in seen) {
        recorder.encoding = seen.encoding
      } else if ('idClaims' in seen) {
        recorder.idClaims = seen.idClaims
        recorder.passedAt = Date.now() / 1000
      } else if ('userInfo' in seen) {
        recorder.userInfo = seen.userInfo
      } else {
        recorder.failure = { error: seen.failure, quoted: seen.quoted }
      }
    },
  }
  return recorder
}
