import {
  constants,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPair as generateKeyPairWithCallback,
  type KeyObject,
  sign,
} from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'

const generateKeyPair = promisify(generateKeyPairWithCallback)

/** HMAC keys of an attacker who hopes that the verifier uses a public key as a secret. */
type HmacKey =
  | 'public-key'
  | 'public-key-der'
  | 'public-key-jwk'
  | 'public-key-modulus'
  | 'client-secret'
  | 'published-secret'
  | 'empty'

/** Faults of a token's header and signature, and of the published keys. */
export interface SigningFaults {
  /**
   * 'foreign-key': another key with the published kid. 'stripped': nothing after the second dot. 'other-padding': PSS instead
   * of PKCS #1, or the reverse. 'small-order': a signature that careless Ed25519 implementations accept for any message.
   * 'of-another-token': the valid signature of other claims.
   */
  signature?:
    | 'bad'
    | 'cut'
    | 'der'
    | 'foreign-key'
    | 'of-another-token'
    | 'other-padding'
    | 'small-order'
    | 'stripped'
    | 'zeros'
  /** Tokens with an asymmetric algorithm have a valid signature by a published key; only the algorithm is not the configured one. */
  alg?: 'none' | `HS${256 | 384 | 512}-${HmacKey}` | 'ES256' | 'PS256' | 'EdDSA'
  /** Merged into the protected header; `undefined` removes a member. */
  header?: Record<string, unknown>
  /** Signed instead of the header, byte for byte; a function gets the valid one. */
  rawHeader?: Raw
  kid?: 'absent' | 'unknown'
  /** Publishes two RS256 keys and signs with the second. */
  severalKeys?: true
  /** Publishes an RSA key of 1024 bits and signs with it. */
  weakKey?: true
  /** Published instead of the valid keys. */
  jwks?: (keys: Record<string, unknown>[]) => unknown
  /** Signed instead of the claims, byte for byte; a function gets the valid ones. */
  rawPayload?: Raw
  /** Changes the whole token after it was signed. */
  tamper?: (token: string) => string
}

type Raw = string | Buffer | ((json: string) => string | Buffer)

type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA'

interface SigningKey {
  kid: string
  alg: Algorithm
  publicKey: KeyObject
  privateKey: KeyObject
}

export interface SigningKeys {
  jwks(faults: SigningFaults): Promise<{ keys: unknown }>
  sign(claims: object, faults?: SigningFaults): Promise<string>
  rotate(): Promise<void>
}

/** A symmetric key that some tests publish. The portal must never use one. */
export const publishedSecret = { kty: 'oct', kid: 'published-secret', k: base64url('a secret for all') }

/**
 * Signs with node:crypto. jose would refuse to create most of these tokens, and a bug in jose could hide itself if it both
 * created and verified them.
 */
export async function createSigningKeys(clientSecret: string): Promise<SigningKeys> {
  let rotations = 0
  let main = await rsaKey('rsa-0')
  const others = { ES256: await curveKey('ES256'), EdDSA: await curveKey('EdDSA') }
  // Slow to generate and rarely needed.
  const spare = new Map<string, Promise<SigningKey>>()

  // The same RSA key, published with a second kid for PS256.
  const forPs256 = (): SigningKey => ({ ...main, kid: `${main.kid}-pss`, alg: 'PS256' })

  function spareKey(name: 'second' | 'weak' | `foreign ${Algorithm}`): Promise<SigningKey> {
    const make = () => {
      if (name === 'foreign ES256' || name === 'foreign EdDSA')
        return curveKey(name === 'foreign ES256' ? 'ES256' : 'EdDSA')
      return rsaKey(`rsa-${name}`, name === 'weak' ? 1024 : 2048)
    }
    const key = spare.get(name) ?? make()
    spare.set(name, key)
    return key
  }

  async function keyFor({ alg, severalKeys, weakKey }: SigningFaults): Promise<SigningKey> {
    if (alg === 'PS256') return forPs256()
    if (alg === 'ES256' || alg === 'EdDSA') return others[alg]
    if (weakKey) return await spareKey('weak')
    return severalKeys ? await spareKey('second') : main
  }

  function hmacKey(name: HmacKey, { publicKey }: SigningKey): string | Buffer {
    const jwk = publicKey.export({ format: 'jwk' })
    switch (name) {
      case 'public-key':
        return publicKey.export({ format: 'pem', type: 'spki' })
      case 'public-key-der':
        return publicKey.export({ format: 'der', type: 'spki' })
      case 'public-key-jwk':
        return JSON.stringify(jwk)
      case 'public-key-modulus':
        return Buffer.from(jwk.n ?? '', 'base64url')
      case 'client-secret':
        return clientSecret
      case 'published-secret':
        return Buffer.from(publishedSecret.k, 'base64url')
      case 'empty':
        return ''
    }
  }

  async function signatureFor(input: string, key: SigningKey, faults: SigningFaults): Promise<Buffer> {
    const [, bits, secret] = /^HS(\d+)-(.*)$/.exec(faults.alg ?? '') ?? []
    if (secret) return hmac(`sha${bits}`, input, hmacKey(secret as HmacKey, key))
    const good = signatureOf(input, key.alg, key.privateKey)
    switch (faults.signature) {
      case 'bad':
        good[10]! ^= 1
        return good
      case 'cut':
        return good.subarray(0, -1)
      case 'zeros':
        return Buffer.alloc(good.length)
      case 'der':
        return sign('sha256', Buffer.from(input), key.privateKey)
      case 'foreign-key':
        return signatureOf(input, key.alg, (await spareKey(`foreign ${key.alg}`)).privateKey)
      case 'of-another-token':
        return signatureOf(`${input}x`, key.alg, key.privateKey)
      case 'other-padding':
        return signatureOf(input, key.alg === 'RS256' ? 'PS256' : 'RS256', key.privateKey)
      case 'small-order':
        return Buffer.concat([Buffer.from([1]), Buffer.alloc(63)])
      default:
        return good
    }
  }

  return {
    async jwks({ severalKeys, weakKey, jwks }) {
      const spares = [severalKeys && 'second', weakKey && 'weak'] as const
      const more = await Promise.all(spares.flatMap((name) => (name ? [spareKey(name)] : [])))
      const keys = [main, ...more, forPs256(), ...Object.values(others)].map(published)
      return { keys: jwks ? jwks(keys) : keys }
    },

    async sign(claims, faults = {}) {
      const key = await keyFor(faults)
      const kid = faults.kid === 'unknown' ? 'nobody-knows-this-key' : key.kid
      const header = {
        alg: faults.alg?.replace(/-.*/, '') ?? key.alg,
        typ: 'JWT',
        ...(faults.kid === 'absent' ? {} : { kid }),
        ...faults.header,
      }
      const input = [rawOr(header, faults.rawHeader), rawOr(claims, faults.rawPayload)]
        .map(base64url)
        .join('.')
      const unsigned = faults.signature === 'stripped' || faults.alg === 'none'
      const signature = unsigned ? '' : base64url(await signatureFor(input, key, faults))
      const token = `${input}.${signature}`
      return faults.tamper ? faults.tamper(token) : token
    },

    async rotate() {
      rotations += 1
      main = await rsaKey(`rsa-${rotations}`)
    },
  }
}

function rawOr(right: object, raw: Raw | undefined): string | Buffer {
  const json = JSON.stringify(right)
  return typeof raw === 'function' ? raw(json) : (raw ?? json)
}

async function rsaKey(kid: string, modulusLength = 2048): Promise<SigningKey> {
  const privateKey = await rsaPrivateKey(modulusLength)
  return { kid, alg: 'RS256', privateKey, publicKey: createPublicKey(privateKey) }
}

let rsaKeys = 0

/** Returns a different key for each call in a test file. RSA keys take 0.1 seconds, so all test files of a run share them. */
async function rsaPrivateKey(modulusLength: number): Promise<KeyObject> {
  const run = process.env.TEST_RUN_FOLDER
  const file = run && path.join(run, `rsa-${modulusLength}-${rsaKeys++}.pem`)
  if (file && fs.existsSync(file)) return createPrivateKey(fs.readFileSync(file))
  const { privateKey } = await generateKeyPair('rsa', { modulusLength })
  if (file) {
    const draft = `${file}-${process.pid}`
    fs.writeFileSync(draft, privateKey.export({ format: 'pem', type: 'pkcs8' }))
    fs.renameSync(draft, file)
  }
  return privateKey
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

function hmac(hash: string, input: string, secret: string | Buffer): Buffer {
  return createHmac(hash, secret).update(input).digest()
}

function base64url(bytes: string | Buffer): string {
  return Buffer.from(bytes as string).toString('base64url')
}
