import { X509Certificate } from 'node:crypto'

const pem = /^\s*(-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----\s*)+$/

/** Whether it is certificates in PEM, and nothing else: a private key that somebody pasted along must not be stored. */
export function areCertificates(text: string): boolean {
  if (!pem.test(text)) return false
  const each = text.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? []
  return each.every(isCertificate)
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}
