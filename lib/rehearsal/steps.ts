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
  /** what to do about it */
  remedy?: string | undefined
}

export const titles: Readonly<Record<Step, string>> = {
  provider: 'The provider was reached',
  answer: 'Its answer came back to this browser',
  code: 'The code was redeemed',
  algorithm: 'Algorithm of the ID token',
  times: 'It is good now',
  issuer: 'Issuer',
  audience: 'Audience',
  nonce: 'It was made for this attempt',
  signature: 'Signature',
  form: 'Form',
  userinfo: 'UserInfo',
  identity: 'Who it is',
  clock: 'Clocks',
}
