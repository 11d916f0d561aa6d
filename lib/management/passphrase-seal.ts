import { CompactEncrypt, compactDecrypt, errors } from 'jose'
import { ConfigurationError } from '../shared/errors.ts'

// A file can be tried offline for ever: each guess has to cost something. RFC 8018 (PBKDF2), by RFC 7518 section 4.8.
const iterations = 600_000
// What a file asks of us is bounded: 2^31 iterations would hold a processor for an hour.
const mostIterations = 1_000_000
const shortest = 12

/** JWE PBES2-HS512+A256KW with A256GCM. @throws ConfigurationError for a passphrase below 12 characters */
export async function sealUnderPassphrase(value: unknown, passphrase: string): Promise<string> {
  if ([...passphrase].length < shortest)
    throw new ConfigurationError(`the passphrase: ${shortest} characters or more, best several random words`)
  return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
    .setProtectedHeader({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM' })
    .setKeyManagementParameters({ p2c: iterations })
    .encrypt(bytesOf(passphrase))
}

/** @throws ConfigurationError when it is another passphrase, or nothing that was sealed so */
export async function openUnderPassphrase(sealed: string, passphrase: string): Promise<unknown> {
  try {
    const { plaintext } = await compactDecrypt(sealed, bytesOf(passphrase), {
      keyManagementAlgorithms: ['PBES2-HS512+A256KW'],
      contentEncryptionAlgorithms: ['A256GCM'],
      maxPBES2Count: mostIterations,
      maxDecompressedLength: 0,
    })
    return JSON.parse(new TextDecoder().decode(plaintext)) as unknown
  } catch (cause) {
    throw new ConfigurationError(
      cause instanceof errors.JWEDecryptionFailed
        ? 'the passphrase does not open the secrets of this file, or the file was changed'
        : 'the secrets of this file are not sealed as an export seals them',
      { cause },
    )
  }
}

// The same letters can be typed in several ways, on two machines say.
function bytesOf(passphrase: string): Uint8Array {
  return new TextEncoder().encode(passphrase.normalize('NFKC'))
}
