import type { Claims } from '../oidc/identity.ts'
import type { Trace } from '../oidc/trace.ts'
import type { SecretEncoding } from '../providers/setting-values.ts'

/** The checks of a sign-in, in this order. It stops at the first one that fails. */
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
  /** the observed value */
  finding?: string | undefined
  /** the exact error, as in the log */
  cause?: string | undefined
  /** advice for the administrator */
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

/** Observations of a test sign-in. */
export interface TestRecorder {
  tokenAsked: boolean
  /** of the token response, if there was one */
  tokenStatus: number | undefined
  /** the encoding of the client secret that the provider accepted */
  encoding: SecretEncoding | undefined
  /** after all claims of the ID token were compared, before its signature was verified */
  keysAsked: boolean
  /** of a valid ID token */
  idClaims: Claims | undefined
  /** when the ID token was validated: seconds since 1970 */
  passedAt: number
  userInfoAsked: boolean
  userInfo: Claims | undefined
  failure: { error: unknown; quoted: (text: string) => string } | undefined
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
