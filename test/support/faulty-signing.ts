import {
  constants,
  createHmac,
  generateKeyPair as generateKeyPairWithCallback,
  type KeyObject,
  sign,
} from 'node:crypto'
import { promisify } from 'node:util'

const generateKeyPair = promisify(generateKeyPairWithCallback)

/** What can be wrong with a token's header and signature. */
export interface SigningFaults {
  /** 'foreign-key': another key under the published key's id. 'stripped': nothing after the second dot. */
  signature?: 'bad' | 'foreign-key' | 'stripped'
  /** The asymmetric ones are signed properly, by keys that are published and announced: just not what was registered. */
  alg?: 'none' | 'HS256-public-key' | 'HS256-client-secret' | 'ES256' | 'PS256' | 'EdDSA'
  /** Merged into the protected header; `undefined` takes a member out. */
  header?: Record<string, unknown>
  kid?: 'absent' | 'unknown'
  /** Publishes two RS256 keys and signs with the second. */
  severalKeys?: true
  /** Signed instead of the claims, byte for byte. */
  rawPayload?: string
}

type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA'

interface SigningKey {
  kid: string
  alg: Algorithm
  publicKey: KeyObject
  privateKey: KeyObject
}

export interface SigningKeys {
  jwks(faults: SigningFaults): Promise<{ keys: object[] }>
  sign(claims: object, faults?: SigningFaults): Promise<string>
  rotate(): Promise<void>
}

/**
 * Signs with node:crypto: jose would refuse to write most of these tokens, and a mistake that it made in reading would
 * cancel out with the same one made in writing.
 */
export async function createSigningKeys(clientSecret: string): Promise<SigningKeys> {
  let rotations = 0
  let main = await rsaKey('rsa-0')
  const others = { ES256: await curveKey('ES256'), EdDSA: await curveKey('EdDSA') }
  // Slow to make and seldom asked for.
  let second: Promise<SigningKey> | undefined
  let foreign: Promise<SigningKey> | undefined

  // The same RSA key, published under a second name for PS256.
  const forPs256 = (): SigningKey => ({ ...main, kid: `${main.kid}-pss`, alg: 'PS256' })
  const secondKey = () => {
    second ??= rsaKey('rsa-second')
    return second
  }
  const foreignKey = () => {
    foreign ??= rsaKey('rsa-foreign')
    return foreign
  }

  async function keyFor(faults: SigningFaults): Promise<SigningKey> {
    if (faults.alg === 'PS256') return forPs256()
    if (faults.alg === 'ES256' || faults.alg === 'EdDSA') return others[faults.alg]
    return faults.severalKeys ? secondKey() : main
  }

  return {
    async jwks({ severalKeys }) {
      const keys = [main, ...(severalKeys ? [await secondKey()] : []), forPs256(), ...Object.values(others)]
      return { keys: keys.map(published) }
    },

    async sign(claims, faults = {}) {
      const key = await keyFor(faults)
      const alg = faults.alg?.startsWith('HS256') ? 'HS256' : (faults.alg ?? key.alg)
      const kid = faults.kid === 'unknown' ? 'nobody-knows-this-key' : key.kid
      const header = {
        alg,
        typ: 'JWT',
        ...(faults.kid === 'absent' ? {} : { kid }),
        ...faults.header,
      }
      const input = [JSON.stringify(header), faults.rawPayload ?? JSON.stringify(claims)]
        .map(base64url)
        .join('.')

      if (faults.signature === 'stripped' || faults.alg === 'none') return `${input}.`
      if (faults.alg === 'HS256-public-key') {
        const pem = key.publicKey.export({ format: 'pem', type: 'spki' })
        return `${input}.${hmac(input, pem)}`
      }
      if (faults.alg === 'HS256-client-secret') return `${input}.${hmac(input, clientSecret)}`
      const signer = faults.signature === 'foreign-key' ? await foreignKey() : key
      const signature = signatureOf(input, key.alg, signer.privateKey)
      if (faults.signature === 'bad') signature[10]! ^= 1
      return `${input}.${signature.toString('base64url')}`
    },

    async rotate() {
      rotations += 1
      main = await rsaKey(`rsa-${rotations}`)
    },
  }
}

async function rsaKey(kid: string): Promise<SigningKey> {
  return { kid, alg: 'RS256', ...(await generateKeyPair('rsa', { modulusLength: 2048 })) }
}

async function curveKey(alg: 'ES256' | 'EdDSA'): Promise<SigningKey> {
  const pair =
    alg === 'ES256'
      ? await generateKeyPair('ec', { namedCurve: 'P-256' })
      : await generateKeyPair('ed25519', {})
  return { kid: `key-for-${alg}`, alg, ...pair }
}

const published = ({ kid, alg, publicKey }: SigningKey) => ({
  ...publicKey.export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
})

function signatureOf(input: string, alg: Algorithm, key: KeyObject): Buffer {
  const bytes = Buffer.from(input)
  switch (alg) {
    case 'RS256':
      return sign('sha256', bytes, key)
    case 'PS256':
      return sign('sha256', bytes, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
    case 'ES256':
      return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
    case 'EdDSA':
      return sign(null, bytes, key)
  }
}

const hmac = (input: string, secret: string | Buffer) =>
  createHmac('sha256', secret).update(input).digest('base64url')

const base64url = (text: string) => Buffer.from(text).toString('base64url')
