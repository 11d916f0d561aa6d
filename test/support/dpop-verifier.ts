import { createHash, randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, EmbeddedJWK, type JWK, jwtVerify } from 'jose'
import type { JsonAnswer, ReceivedRequest } from './faulty-provider.ts'

interface CheckedProof {
  /** of the key that a token must be bound to */
  thumbprint?: string
  refused?: JsonAnswer
}

export interface DpopVerifier {
  /** @param accessToken at a resource, such as UserInfo */
  check(
    request: ReceivedRequest,
    required: true | 'nonce' | undefined,
    accessToken?: string,
  ): Promise<CheckedProof>
}

/** Checks proofs of possession as RFC 9449, 4.3 demands. Each proof is valid once, for a minute. */
export function createDpopVerifier(origin: string): DpopVerifier {
  const nonce = randomBytes(12).toString('base64url')
  const seen = new Set<string>()

  function refuse(error: string, description: string, accessToken?: string): CheckedProof {
    const headers = {
      'DPoP-Nonce': nonce,
      ...(accessToken !== undefined && { 'WWW-Authenticate': `DPoP error="${error}", algs="ES256"` }),
    }
    const status = accessToken === undefined ? 400 : 401
    return { refused: { status, headers, body: { error, error_description: description } } }
  }

  return {
    async check({ method, path, headers }, required, accessToken) {
      const proof = headers.dpop
      if (!required) return {}
      if (proof === undefined) return refuse('invalid_request', 'DPoP proof is missing', accessToken)
      const { payload } = await jwtVerify(String(proof), EmbeddedJWK, {
        typ: 'dpop+jwt',
        algorithms: ['ES256'],
        maxTokenAge: 60,
        clockTolerance: 10,
        currentDate: new Date(Date.now()),
        requiredClaims: ['jti', 'htm', 'htu'],
      })
      const isNew = !seen.has(String(payload.jti))
      seen.add(String(payload.jti))
      const ath = accessToken && createHash('sha256').update(accessToken).digest('base64url')
      const isForThis = payload.htm === method && payload.htu === origin + path && payload.ath === ath
      if (!isNew || !isForThis) return refuse('invalid_dpop_proof', 'DPoP proof is invalid', accessToken)
      if (required === 'nonce' && payload.nonce !== nonce)
        return refuse('use_dpop_nonce', 'Authorization server requires nonce in DPoP proof', accessToken)
      const { jwk } = decodeProtectedHeader(String(proof))
      return { thumbprint: await calculateJwkThumbprint(jwk as JWK) }
    },
  }
}
