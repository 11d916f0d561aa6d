import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { ClientMethod } from '../oidc/client-methods.ts'
import type { Claims } from '../oidc/identity.ts'
import type { Trace } from '../oidc/trace.ts'
import type { Provider } from '../providers/provider.ts'
import { type AdminText, listed, Phrase, phrase } from '../shared/phrase.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { clockToleranceSeconds } from '../shared/time.ts'

export class TestRecorder {
  tokenAsked = false
  tokenStatus: number | undefined
  /** the client authentication that the provider accepted in place of the configured one */
  method: ClientMethod | undefined
  /** after all claims of the ID token were compared, before its signature was verified */
  keysAsked = false
  /** of the signature of a valid ID token */
  algorithm: string | undefined
  /** of a valid ID token */
  idClaims: Claims | undefined
  /** when the ID token was validated: seconds since 1970 */
  passedAt = 0
  userInfoAsked = false
  userInfo: Claims | undefined
  userInfoFailure: unknown
  failure: { error: unknown } | undefined

  readonly trace: Trace = (seen) => {
    if ('failure' in seen) this.failure = { error: seen.failure }
    else if (!('asked' in seen)) Object.assign(this, seen)
    else if (seen.asked === 'token') this.tokenAsked = true
    else if (this.idClaims) this.userInfoAsked = true
    else this.keysAsked = true
    if ('idClaims' in seen) this.passedAt = Date.now() / 1000
  }
}

/** A test sign-in up to the report. */
export interface Seen {
  provider: Provider
  response: AuthorizationResponse | undefined
  recorder: TestRecorder
}

interface Step {
  title: string
  finding(seen: Seen): AdminText
  remedy: string
}

/** The checks of a sign-in, in this order. It stops at the first one that fails. */
const table = {
  provider: {
    title: phrase('Provider reached'),
    finding: ({ provider: { issuer } }) =>
      phrase('The discovery document of {{issuer}} was read.', { issuer }),
    remedy: phrase(
      'Test the connection. This server must reach the discovery document and all endpoints, and the issuer must match the document exactly.',
    ),
  },
  answer: {
    title: phrase('Authorization response received'),
    finding: ({ response }) =>
      response?.parameters.has('iss')
        ? phrase('It belongs to the sign-in that started here (state) and names the issuer (iss).')
        : phrase(
            'It belongs to the sign-in that started here (state). It does not name the issuer (iss), and the provider does not announce that it will.',
          ),
    remedy: phrase(
      'Test the sign-in again. If it still fails, compare the issuer with the one in the discovery document. A proxy between browser and portal may also rewrite URLs.',
    ),
  },
  code: {
    title: phrase('Code redeemed'),
    finding: codeFinding,
    remedy: phrase(
      'The token endpoint must respond to this server within 5 s, as JSON, with an access token and an ID token.',
    ),
  },
  algorithm: {
    title: phrase('ID token: algorithm'),
    finding({ provider: { signingAlgorithm }, recorder: { algorithm } }) {
      if (signingAlgorithm)
        return phrase('It is signed with {{algorithm}}, as the settings require.', {
          algorithm: signingAlgorithm,
        })
      if (!algorithm) return phrase('The settings accept it.')
      return phrase(
        'It is signed with {{algorithm}}. The settings accept every asymmetric algorithm that the provider announces. To accept only {{algorithm}}, choose it as the signing algorithm, and test the sign-in again.',
        { algorithm },
      )
    },
    remedy: phrase(
      'Configure the provider to sign ID tokens with an asymmetric algorithm that it announces, or that the settings name. Or change the setting to the one that the provider uses. HS256, none and encrypted tokens are refused.',
    ),
  },
  times: {
    title: phrase('ID token: times'),
    finding: () => phrase('It has not expired (exp) and is already valid (nbf).'),
    remedy: phrase('Compare the clocks of this server and of the provider (NTP). 30 s are tolerated.'),
  },
  issuer: {
    title: phrase('ID token: issuer'),
    finding: ({ provider, recorder }) => asShown(recorder.idClaims?.iss ?? provider.issuer),
    remedy: phrase('Enter the issuer exactly as it appears in the ID token.'),
  },
  audience: {
    title: phrase('ID token: audience'),
    finding: ({ provider }) => asShown(provider.clientId),
    remedy: phrase(
      'Enter the client ID of this application at the provider. The ID token must be issued to it.',
    ),
  },
  nonce: {
    title: phrase('ID token: nonce'),
    finding: () => phrase('It contains the nonce of this sign-in.'),
    remedy: phrase(
      'The provider must put the nonce of the request into the ID token (OpenID Connect Core 3.1.2.1).',
    ),
  },
  signature: {
    title: phrase('ID token: signature'),
    finding: () => phrase('It was verified with a key that the provider currently publishes.'),
    remedy: phrase(
      'Test the connection. The key set of the provider must contain the signing key, under the key ID (kid) in the token.',
    ),
  },
  form: {
    title: phrase('ID token: format'),
    finding: () => phrase('It is a well-formed ID token.'),
    remedy: phrase('Report this to the provider. The ID token does not follow the standard.'),
  },
  userinfo: {
    title: phrase('UserInfo'),
    finding({ recorder }) {
      if (!recorder.userInfoAsked) return phrase('It was not needed.')
      if (recorder.userInfoFailure) return phrase('The request failed. A sign-in continues without it.')
      return recorder.userInfo
        ? phrase(
            'It was requested because the ID token lacks the address, or a claim that decides whether it is trusted. Its subject matches.',
          )
        : phrase('It was requested, but returned nothing.')
    },
    remedy: phrase(
      'The UserInfo endpoint must accept the access token and return the same subject. Or configure the provider to put the e-mail claim into the ID token.',
    ),
  },
  identity: {
    title: phrase('Identity'),
    finding: ({ recorder }) => phrase('Subject {{subject}}', { subject: claimText(recorder.idClaims?.sub) }),
    remedy: phrase('Report this to the provider. A claim that identifies the user is not reliable.'),
  },
  clock: {
    title: phrase('Clocks'),
    finding: ({ recorder }) =>
      skewFinding(recorder) ?? phrase('The ID token was not issued in the future (iat).'),
    remedy: phrase('Compare the clocks of this server and of the provider (NTP). 30 s are tolerated.'),
  },
} satisfies Record<string, Step>

export type TestStep = keyof typeof table
export const steps: Readonly<Record<TestStep, Step>> = table

function codeFinding({ provider, recorder: { method } }: Seen): AdminText {
  const { clientAuthentication } = method ?? provider
  const finding = phrase(
    'The provider accepted the code with its PKCE verifier and authenticated this portal by {{method}}.',
    { method: clientAuthentication },
  )
  if (!method) return finding
  const changes = [
    clientAuthentication !== provider.clientAuthentication &&
      phrase('not by {{method}}', { method: String(provider.clientAuthentication) }),
    method.secretEncoding !== provider.secretEncoding && encodingFinding[method.secretEncoding],
    method.assertionAudience !== provider.assertionAudience && audienceFinding[method.assertionAudience],
    method.kid !== undefined && phrase('with a key of another algorithm'),
  ].flatMap((each) => each || [])
  return phrase('{{finding}} It accepts the client {{differences}}. This is used from now on.', {
    finding,
    differences: listed(changes),
  })
}

const encodingFinding = {
  raw: phrase('with ID and secret unencoded (raw), not form-encoded'),
  form: phrase('with ID and secret form-encoded, not unencoded (raw)'),
}
const audienceFinding = {
  issuer: phrase('with the issuer as the audience'),
  token_endpoint: phrase('with the token endpoint as the audience'),
}

/** A value on its own, which is not translated, whatever the provider sent. */
function asShown(claim: unknown): AdminText {
  return new Phrase('{{value}}', { value: claimText(claim) })
}

function claimText(claim: unknown): string {
  return sanitizeText(String(claim), 255)
}

/**
 * Returns a finding if the ID token was issued in the future. An `iat` in the past proves nothing: Entra sets it five minutes back.
 * The transport of the response accounts for a few seconds.
 */
export function skewFinding({ idClaims, passedAt }: TestRecorder): AdminText | undefined {
  const seconds = Math.round(Number(idClaims?.iat) - passedAt)
  if (!(seconds > 5)) return undefined
  const tolerated = clockToleranceSeconds
  return phrase('The provider’s clock is {{seconds}} s ahead. {{tolerated}} s are tolerated.', {
    seconds,
    tolerated,
  })
}
