import { discover, type ProviderMetadata } from '../../oidc/discovery.ts'
import { type HttpClient, isFetchable, isUnreachable } from '../../oidc/http-client.ts'
import type { Check } from '../../providers/provider.ts'
import { describeError } from '../../shared/errors.ts'
import { failed, ok, type TestInput } from './candidate.ts'

export type Reached = { metadata: ProviderMetadata; checks: Check[] } | { metadata?: never; checks: Check[] }

/** Reads the metadata. What was found stands in `checks`, which end there when there is nothing to go on with. */
export async function reach(
  { issuer, preset }: Pick<TestInput, 'issuer' | 'preset'>,
  outbound: HttpClient,
): Promise<Reached> {
  const failures: unknown[] = []
  // Administrators lose or add the last slash; the provider's own spelling is the one that is kept.
  for (const spelling of [issuer, issuer.endsWith('/') ? issuer.slice(0, -1) : `${issuer}/`]) {
    try {
      const metadata = await discover({ issuer: spelling, preset }, outbound)
      const finding = `the discovery document of ${metadata.issuer} was read`
      return { metadata, checks: [ok('reached', finding), checkIssuer(metadata.issuer, issuer)] }
    } catch (error) {
      failures.push(error)
    }
  }
  const document = `${withoutSlash(issuer)}/.well-known/openid-configuration`
  const other = otherIssuer(failures[0])
  if (other !== undefined)
    return { checks: [ok('reached', `${document} was read`), checkIssuer(other, issuer)] }
  const finding = `no usable discovery document at ${issuer}: ${describeError(failures[0])}`
  const remedy = isFetchable(new URL(issuer))
    ? remedyFor(failures[0], document)
    : 'enter the issuer with https'
  return { checks: [failed('reached', finding, remedy)] }
}

function checkIssuer(named: string, entered: string): Check {
  if (withoutSlash(named) === withoutSlash(entered)) return ok('issuer', `the issuer is ${named}`)
  return failed(
    'issuer',
    `the discovery document names another issuer: ${JSON.stringify(named)}`,
    `open ${withoutSlash(entered)}/.well-known/openid-configuration and compare its "issuer" with what you entered`,
  )
}

/** The issuer that a document names, where that is all that is wrong with it. */
function otherIssuer(error: unknown): string | undefined {
  for (let at = error, depth = 0; at && depth < 5; depth++) {
    const { attribute, body, cause } = at as { attribute?: unknown; body?: unknown; cause?: unknown }
    const named = (body as { issuer?: unknown } | null | undefined)?.issuer
    if (attribute === 'issuer' && typeof named === 'string') return named
    at = cause
  }
  return undefined
}

function remedyFor(error: unknown, document: string): string {
  if (isUnreachable(error))
    return `open ${document} from this server. Check the name, the firewall, the proxy and the certificate`
  return `open ${document} and compare its "issuer" with what you entered`
}

function withoutSlash(issuer: string): string {
  return issuer.replace(/\/$/, '')
}
