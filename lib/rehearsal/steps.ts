/** What a sign-in looks at, in this order: behind one that failed nothing was looked at. */
export const steps = [
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
export type Step = (typeof steps)[number]

export interface Line {
  title: string
  result: 'ok' | 'warning' | 'failed' | 'not reached'
  /** what was found */
  finding?: string | undefined
  /** the operator's exact words of a failure, as a log has them */
  cause?: string | undefined
  /** what to do about it */
  remedy?: string | undefined
}

export const titles: Readonly<Record<Step, string>> = {
  provider: 'The provider was reached',
  answer: 'Its answer came back to this browser',
  code: 'The code was redeemed',
  algorithm: 'ID token: algorithm',
  times: 'ID token: times',
  issuer: 'ID token: issuer',
  audience: 'ID token: audience',
  nonce: 'ID token: nonce',
  signature: 'ID token: signature',
  form: 'ID token: form',
  userinfo: 'UserInfo',
  identity: 'Who it is',
  clock: 'Clocks',
}
